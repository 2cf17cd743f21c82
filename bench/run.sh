#!/usr/bin/env bash
# Builds attend's benchmarks in build-bench/ for this machine's processor and runs them, after installing what this
# machine lacks. Arguments go to Google Benchmark: --benchmark_filter=forward/f32 --benchmark_out=run.json
# ATTEND_BENCH_MARCH names another instruction set for GCC's and Clang's -march: haswell, x86-64
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../.scripts/prepare.sh"

prepare compiler cmake eigen benchmark
(cd "$root" && cmake --preset default -B build-bench -DCMAKE_CXX_FLAGS="-march=${ATTEND_BENCH_MARCH:-native}" \
    -DATTEND_BUILD_BENCHMARKS=ON -DATTEND_BUILD_TESTS=OFF -DATTEND_BUILD_EXAMPLES=OFF &&
    cmake --build build-bench --parallel "$(cores)" --target attend_bench) >&2
exec "$root/build-bench/bench/attend_bench" "$@"
