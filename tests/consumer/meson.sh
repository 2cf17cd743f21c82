#!/bin/sh
# meson.sh SOURCE SCRATCH COMPILER: a Meson project that has attend as a subproject, built and run; 77 without Meson.
set -eu
source=$1 scratch=$2 compiler=$3
command -v meson > /dev/null || { echo 'skipped: no Meson here'; exit 77; }

rm -rf "$scratch"
mkdir -p "$scratch/subprojects/attend"
cp -R "$source/include" "$source/.packaging/meson/meson.build" "$scratch/subprojects/attend"
cp "$source/tests/consumer/main.cpp" "$scratch"
cat > "$scratch/meson.build" <<'END'
project('consumer', 'cpp', default_options: ['cpp_std=c++20', 'optimization=0', 'warning_level=3', 'werror=true'])
attend = dependency('attend', fallback: 'attend')
executable('consumer', 'main.cpp', dependencies: attend,
  cpp_args: '-DPACKAGE_VERSION="@0@"'.format(attend.version()))
END
export CXX="$compiler"
meson setup "$scratch/build" "$scratch"
meson compile -C "$scratch/build"
"$scratch/build/consumer"
