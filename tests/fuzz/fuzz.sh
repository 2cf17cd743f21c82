#!/usr/bin/env bash
# The coverage-guided fuzzer: tests/fuzz/fuzz.sh SECONDS [ARGUMENT…]; arguments go to libFuzzer. What stops it is kept
# in build-fuzzer/, to be run again by build-fuzzer/fuzzer FILE.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../.scripts/prepare.sh"

prepare compiler eigen
seconds=${1:?tests/fuzz/fuzz.sh SECONDS}
shift
mkdir -p "$root/build-fuzzer/corpus"
cd "$root/build-fuzzer"
eigen=$(for folder in ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//:/ }} /usr /usr/local; do
    [ ! -d "$folder/include/eigen3" ] || { echo "$folder/include/eigen3" && break; }
done)
${FUZZ_CXX:-clang++} -std=c++20 -O1 -g1 -DNDEBUG -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all ${CXXFLAGS:-} \
    -I"$root/include" -I"$root/tests" -isystem "$eigen" "$root/tests/fuzz/fuzzer.cpp" -o fuzzer
status=0
./fuzzer corpus -max_len=256 -max_total_time="$seconds" -print_final_stats=1 -timeout=20 "$@" >log 2>&1 || status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' log)
if [ $status -ne 0 ]; then
    grep -m1 -B2 -A25 -E 'WRONG|ERROR|runtime error' log || tail -n 40 log
fi
echo "fuzzer: ${runs:-?} runs in $seconds s, $([ $status -eq 0 ] && echo 0 || echo 1) crashes"
exit $status
