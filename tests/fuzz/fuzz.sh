#!/usr/bin/env bash
# The coverage-guided fuzzers: tests/fuzz/fuzz.sh [safetensors] SECONDS [ARGUMENT…]; arguments go to libFuzzer. Without a
# name that of calls, fuzzer.cpp. What stops one is kept in its build folder, to be run again by its fuzzer FILE there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../.scripts/prepare.sh"

prepare compiler eigen
source=fuzzer.cpp folder=build-fuzzer arguments=(-max_len=256)
if [ "${1:-}" = safetensors ]; then
    source=safetensors_fuzzer.cpp folder=build-fuzzer-safetensors
    arguments=(-max_len=1024 "-dict=$root/tests/fuzz/safetensors.dict" -rss_limit_mb=512)
    shift
fi
seconds=${1:?tests/fuzz/fuzz.sh [safetensors] SECONDS}
shift
mkdir -p "$root/$folder/corpus"
cd "$root/$folder"
eigen=$(for folder in ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//:/ }} /usr /usr/local; do
    [ ! -d "$folder/include/eigen3" ] || { echo "$folder/include/eigen3" && break; }
done)
${FUZZ_CXX:-clang++} -std=c++20 -O1 -g1 -DNDEBUG -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all ${CXXFLAGS:-} \
    -I"$root/include" -I"$root/tests" -isystem "$eigen" "$root/tests/fuzz/$source" -o fuzzer
status=0
./fuzzer corpus "${arguments[@]}" -max_total_time="$seconds" -print_final_stats=1 -timeout=20 "$@" >log 2>&1 || status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' log)
if [ $status -ne 0 ]; then
    grep -m1 -B2 -A25 -E 'WRONG|ERROR|runtime error' log || tail -n 40 log
fi
echo "fuzzer: ${runs:-?} runs in $seconds s, $([ $status -eq 0 ] && echo 0 || echo 1) crashes"
[ $status -eq 0 ]  # not libFuzzer's own code, 77, which says elsewhere that something cannot run here
