#!/usr/bin/env bash
# Builds every_target.cpp for one target and runs what it built, by an emulator where it takes one. Exit code 77: this
# machine lacks the compiler or the emulator.
# targets.sh TARGET FOLDER EIGEN_FOLDER     targets.sh --list
set -euo pipefail

if [ "$1" = --list ]; then
    # Those that any system's compilers serve stand first.
    echo c++23 c++26 native-scalar native-unaligned no-exceptions gnu-packets plain-lanes as-msvc-sse2 as-msvc-avx2 libc++ i686-sse2 i686-x87 armv7 riscv64 ppc64le s390x mingw emscripten wasm
    exit
fi
target=$1 folder=$2 eigen=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$folder"
program=$folder/$target

lacks() { echo "no $1 here" && exit 77; }
needs() { for command in "$@"; do command -v "$command" >/dev/null || lacks "$command"; done; }
speaks() { echo 'int main() {}' | "$@" -x c++ -o /dev/null - 2>/dev/null || lacks "$*"; }
compile() { "$@" -O1 "-I$here/../../include" -isystem "$eigen" "$here/every_target.cpp" -o "$program"; }

compiler=${CXX:-g++}
case $target in
c++23) speaks "$compiler" -std=c++2b && compile "$compiler" -std=c++2b && "$program" ;;
c++26)
    # Eigen 3.4 compares values of different enumerations, which C++26 has no more.
    for compiler in "$compiler" clang++; do
        if echo 'int main() {}' | "$compiler" -std=c++2c -x c++ -o /dev/null - 2>/dev/null; then
            compile "$compiler" -std=c++2c && "$program"
            exit
        fi
    done
    lacks 'compiler that knows -std=c++2c'
    ;;
native-scalar) compile "$compiler" -std=c++20 -march=native -DEIGEN_DONT_VECTORIZE && "$program" ;;
native-unaligned) compile "$compiler" -std=c++20 -march=native -DEIGEN_MAX_ALIGN_BYTES=0 && "$program" ;;
no-exceptions) compile "$compiler" -std=c++20 -fno-exceptions -fno-rtti && "$program" ;;
gnu-packets) compile "$compiler" -std=c++20 -DATTEND_GNU_PACKETS && "$program" ;;
plain-lanes) compile "$compiler" -std=c++20 -march=native -DATTEND_NO_GNU_VECTORS && "$program" ;;
as-msvc-*)
    # What the library is to Microsoft's compiler, by one that knows __declspec.
    needs clang++
    [ "$(uname -m)" = x86_64 ] || lacks x86_64
    march=$([ "$target" = as-msvc-avx2 ] && echo haswell || echo x86-64)
    compile clang++ -std=c++20 -w -fdeclspec -march="$march" -include "$here/as_msvc.hpp" && "$program"
    ;;
libc++)
    needs clang++
    echo '#include <vector>' | clang++ -stdlib=libc++ -fsyntax-only -x c++ - 2>/dev/null || lacks libc++
    compile clang++ -std=c++20 -stdlib=libc++ && "$program"
    ;;
i686-sse2)
    needs i686-linux-gnu-g++
    # The emulator serves where the kernel runs no programs of 32 bits.
    compile i686-linux-gnu-g++ -std=c++20 -static -msse2 -mfpmath=sse && { "$program" || qemu-i386 "$program"; }
    ;;
i686-x87)
    needs i686-linux-gnu-g++
    if refusal=$(compile i686-linux-gnu-g++ -std=c++20 -mno-sse2 -Wfatal-errors 2>&1); then
        echo 'compiles, and would compute in 80 bits' && exit 1
    fi
    [[ $refusal == *'attend: '*'-msse2 -mfpmath=sse'* ]] || { echo "$refusal" && exit 1; }
    ;;
armv7)
    needs arm-linux-gnueabihf-g++ qemu-arm
    compile arm-linux-gnueabihf-g++ -std=c++20 -static -mfpu=neon -Wno-psabi && qemu-arm "$program"
    ;;
riscv64)
    needs riscv64-linux-gnu-g++ qemu-riscv64
    compile riscv64-linux-gnu-g++ -std=c++20 -static && qemu-riscv64 "$program"
    ;;
ppc64le)
    needs powerpc64le-linux-gnu-g++ qemu-ppc64le
    compile powerpc64le-linux-gnu-g++ -std=c++20 -static -Wno-psabi && qemu-ppc64le "$program"
    ;;
s390x)
    needs s390x-linux-gnu-g++ qemu-s390x
    compile s390x-linux-gnu-g++ -std=c++20 -static && qemu-s390x "$program"
    ;;
mingw)
    needs x86_64-w64-mingw32-g++-posix wine
    # As in a program of Windows: its header first.
    compile x86_64-w64-mingw32-g++-posix -std=c++20 -static -DNOMINMAX -include windows.h && WINEDEBUG=-all timeout 300 wine "$program.exe"
    ;;
emscripten | wasm)
    # `wasm` has packets. One file: the loader of older versions takes today's node for a browser, and would fetch.
    needs em++ node
    simd=$([ "$target" = wasm ] && echo -msimd128 || true)
    compile em++ -std=c++20 $simd -sALLOW_MEMORY_GROWTH -sSINGLE_FILE && node "$program"
    ;;
*) echo "no target $target: $(bash "$0" --list)" >&2 && exit 2 ;;
esac
