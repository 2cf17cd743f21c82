#!/usr/bin/env bash
# Differential tests: random compositions and cases through the public face, on operands and on caches, against an oracle of plain loops.
#
#   tests/fuzz/run.sh SECONDS [SEED]     for so long, from that seed (default 1)
#   tests/fuzz/run.sh --repeat CASE      one case again, as a failure prints it
#
# Built by CXX with CXXFLAGS, such as -march=native, in a folder of their own; FUZZ_NDEBUG=1 leaves assertions out, and
# FUZZ_SOURCES, a regular expression, takes some of the sources alone.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../.scripts/prepare.sh"

prepare compiler cmake eigen catch2
folder=$root/build-fuzz$(tr -cd 'a-z0-9' <<<"${CXX:-}${CXXFLAGS:-}${FUZZ_NDEBUG:-}")
(cd "$root" && cmake --preset default -B "$folder" -DATTEND_BUILD_EXAMPLES=OFF -DATTEND_TESTS=^fuzz/ \
    "-DATTEND_FUZZ_NDEBUG=${FUZZ_NDEBUG:-OFF}" "-DATTEND_FUZZ_SOURCES=${FUZZ_SOURCES:-.}" >/dev/null && cmake --build "$folder" --parallel "$(cores)" --target fuzz_differential)
exec "$folder/tests/fuzz/fuzz_differential" "$@"
