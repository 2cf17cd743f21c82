#!/usr/bin/env bash
# Makes the page build/examples/browser/attention.html, after installing what this machine lacks, and says where it is.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../.scripts/prepare.sh"

prepare compiler cmake eigen emscripten python
build browser -DATTEND_BUILD_TESTS=OFF -DATTEND_BUILD_EXAMPLES=ON '-DATTEND_EXAMPLES=^browser$'
