#!/bin/sh
# meson.sh SOURCE SCRATCH COMPILER: a Meson project that has a release of attend by the wrap, built and run; 77 without
# Meson.
set -eu
source=$1 scratch=$2 compiler=$3
command -v meson > /dev/null || { echo 'skipped: no Meson here'; exit 77; }

recipe=$source/.packaging/meson
files=$scratch/subprojects/packagefiles
release=$(sed -n 's/^directory = //p' "$recipe/attend.wrap")
rm -rf "$scratch"
mkdir -p "$files/attend" "$scratch/release/$release"
cp "$recipe/attend.wrap" "$scratch/subprojects"
cp "$recipe/meson.build" "$files/attend"
cp -R "$source/include" "$source/LICENSE" "$scratch/release/$release"
tar -czf "$files/$release.tar.gz" -C "$scratch/release" "$release"
cp "$source/tests/consumer/main.cpp" "$scratch"
cat > "$scratch/meson.build" <<'END'
project('consumer', 'cpp', default_options: ['cpp_std=c++20', 'optimization=0', 'warning_level=3', 'werror=true'])
attend = dependency('attend')
executable('consumer', 'main.cpp', dependencies: attend,
  cpp_args: '-DPACKAGE_VERSION="@0@"'.format(attend.version()))
END
export CXX="$compiler"
meson setup "$scratch/build" "$scratch"
meson compile -C "$scratch/build"
"$scratch/build/consumer"
