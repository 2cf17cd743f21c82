#!/usr/bin/env bash
# Objects of different instruction sets and switches in one program: each must compute what it would alone. The linker
# keeps one of all functions that have one name, the first it meets: so no two of them may define a name of attend's, and
# they are linked in both orders.
# units.sh COMPILER FOLDER LEVEL FLAG...     e.g. units.sh g++ build/units -O1 -isystem /usr/include/eigen3
set -euo pipefail
compiler=$1 folder=$2 level=$3
shift 3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$folder"
cd "$folder"

flags=(-std=c++20 "$level" "-I$here/../../include" "$@")
declare -A switches=([plain]='' [aborts]='-fno-exceptions')
if [ "$(uname -m)" = x86_64 ]; then
    switches[sse2]='-march=x86-64'
    switches[avx2]='-march=haswell'
    switches[avx2_scalar]='-march=haswell -DEIGEN_DONT_VECTORIZE'
    switches[sse2_lanes]='-march=x86-64 -DATTEND_NO_GNU_VECTORS'
    switches[sse2_vectors]='-march=x86-64 -DATTEND_GNU_PACKETS'
    unset 'switches[plain]'
fi
objects=() list=
for unit in $(printf '%s\n' "${!switches[@]}" | sort); do
    # shellcheck disable=SC2086
    "$compiler" "${flags[@]}" ${switches[$unit]} -DATTEND_UNIT="$unit" -DATTEND_UNIT_RUNS="${unit}_runs" \
        -c "$here/unit.cpp" -o "$unit.o"
    objects+=("$unit.o")
    list+=" ATTEND_UNIT($unit)"
done
shared=$(for object in "${objects[@]}"; do nm --defined-only "$object" | sed -n 's/.* [A-Za-z] \(.*6attend.*\)/\1/p' | sort -u; done | sort | uniq -d)
[ -z "$shared" ] || { echo "$shared" | head -5 && echo "$(wc -l <<<"$shared") names of attend's are defined by two objects" && exit 1; }
"$compiler" "${flags[@]}" "-DATTEND_UNITS=$list" -c "$here/units.cpp" -o units.o
"$compiler" units.o "${objects[@]}" -o forwards && ./forwards
"$compiler" units.o $(printf '%s\n' "${objects[@]}" | sort -r) -o backwards && ./backwards
