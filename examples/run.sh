#!/usr/bin/env bash
# Builds the example translate_dates in build/ and runs it, after installing what this machine lacks. Arguments go to the
# example: "3 May 1979", --retrain
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../.scripts/prepare.sh"

prepare compiler cmake eigen
build translate_dates -DATTEND_BUILD_TESTS=OFF -DATTEND_BUILD_EXAMPLES=ON
exec "$root/build/examples/translate_dates" "$@"
