#!/usr/bin/env bash
# Builds attend's tests in build/ and runs them, after installing what this machine lacks. Arguments go to ctest: -L core
# What takes longest is left to .ci/run: the examples that train, what only compiles, most differential tests, long_tests.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../.scripts/prepare.sh"

prepare compiler cmake eigen catch2
build all -DATTEND_BUILD_TESTS=ON -DATTEND_BUILD_EXAMPLES=ON '-DATTEND_EXAMPLES=^(quickstart|worked_example)$' \
    -DATTEND_TEST_COMPILATION=OFF "-DATTEND_TESTS_BUT=$long_tests" '-DATTEND_FUZZ_SOURCES=/(main|setup|float_dot_products)[.]cpp$'
export ATTEND_FUZZ_SECONDS=${ATTEND_FUZZ_SECONDS:-10}
ctest --test-dir "$root/build" --output-on-failure --parallel "$(cores)" "$@"
