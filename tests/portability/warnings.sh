#!/usr/bin/env bash
# A user whose own warnings are strict, and who has attend among the folders of the project itself, meets none of attend's.
# warnings.sh COMPILER EIGEN_FOLDER FLAG...     e.g. warnings.sh g++ /usr/include/eigen3 -O3 -march=native
set -euo pipefail
compiler=$1 eigen=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
warnings=$("$compiler" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow "$@" "-I$here/../../include" -isystem "$eigen" \
    -c "$here/every_target.cpp" -o /dev/null 2>&1) || { echo "$warnings" && exit 1; }
[ -z "$warnings" ] || { echo "$warnings" && exit 1; }
