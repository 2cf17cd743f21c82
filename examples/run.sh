#!/usr/bin/env bash
# Builds an example in build/ and runs it, after installing what this machine lacks:
#
#   ./examples/run.sh NAME [ARGUMENTS]   any of examples/README.md; its picture goes to the current folder
#   ./examples/run.sh [ARGUMENTS]        translate_dates: "3 May 1979", --retrain; without any, names the others too
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../.scripts/prepare.sh"
examples=$root/examples

is_example() { [[ $1 =~ ^[a-z0-9_]+$ ]] && [[ -f $examples/$1/main.cpp || -f $examples/$1.cpp || -f $examples/$1/CMakeLists.txt ]]; }

# Each example and what it teaches: the headings of the gallery, and the first line below each.
list_examples() {
    awk '/^## / { name = $2; next } name && NF { printf "  %-18s%s\n", name, $0; name = "" }' "$examples/README.md"
}

# A word that is no date, as it has no digit: the name of an example, or meant as one.
is_name() { [[ $1 =~ ^[a-z]+([_-][a-z]+)*$ && ($# -eq 1 || $2 == --*) ]]; }

name=translate_dates
if [ $# -gt 0 ] && is_example "$1"; then
    name=$1
    shift
elif [ $# -gt 0 ] && is_name "$@"; then
    printf 'There is no example "%s". There are:\n\n%s\n' "$1" "$(list_examples)" >&2
    exit 2
fi

start=()
if grep -qs '^// needs: mpi' "$examples/$name/main.cpp"; then
    command -v mpirun >/dev/null || { echo "$name needs MPI, such as the packages libopenmpi-dev and openmpi-bin" >&2; exit 2; }
    # Open MPI starts no more processes than there are cores, and none as root, unless it is told to.
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    start=(mpirun -n 3)
fi
prepare compiler cmake eigen
build "$name" -DATTEND_BUILD_TESTS=OFF -DATTEND_BUILD_EXAMPLES=ON
[ ! -f "$examples/$name/CMakeLists.txt" ] || exit 0  # one that is built otherwise, and has said where it is
[ "$name" = translate_dates ] && [ $# -eq 0 ] || exec ${start[@]+"${start[@]}"} "$root/build/examples/$name" "$@"

"$root/build/examples/$name"
printf '\nThe other examples, each by ./examples/run.sh NAME:\n\n%s\n' "$(list_examples | grep -v " $name ")"
