# Sourced by examples/run.sh, tests/run.sh and .ci/run: makes sure that this machine has what they need.
#
#   root                 the project's folder
#   long_tests           a regular expression of test sources
#   prepare PART...      installs what is missing of: compiler cmake eigen catch2 benchmark emscripten python
#   build TARGET ARG...  configures build/ with ARG... for cmake, then builds TARGET there

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Tests that tests/run.sh leaves to .ci/run, which runs them by themselves: what they are made of takes long to compile.
long_tests='^golden/|allocations|^laws/(gradients|gradient_accuracy|weight_gradients|weight_rows|functor_gradients|half_parameters|lse_gradients)'

# Succeeds where the compiler finds a header of a system folder or of CMAKE_PREFIX_PATH.
has_header() {
    local paths=() prefix
    for prefix in ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//:/ }} /usr/local /opt/homebrew; do
        paths+=("-I$prefix/include")
    done
    echo "#include <$1>" | "${CXX:-c++}" -std=c++20 -E "${paths[@]}" -x c++ - >/dev/null 2>&1
}

has() {
    case $1 in
    compiler) has_header concepts && command -v make >/dev/null ;;
    cmake) printf '3.21\n%s\n' "$(cmake --version 2>/dev/null | sed -n 's/^cmake version //p')" | sort -VC ;;
    eigen) has_header eigen3/Eigen/Core ;;
    catch2) has_header catch2/catch_test_macros.hpp || has_header catch2/catch.hpp ;;
    benchmark) has_header benchmark/benchmark.h ;;
    emscripten) command -v em++ >/dev/null ;;
    python) command -v python3 >/dev/null ;;
    esac
}

# The package of a part in the words of one package manager.
package_of() {
    case $1:$2 in
    apt-get:compiler) echo g++ make ;;
    pacman:compiler) echo gcc make ;;
    *:compiler) echo gcc-c++ make ;;
    *:cmake) echo cmake ;;
    apt-get:eigen) echo libeigen3-dev ;;
    pacman:eigen | brew:eigen) echo eigen ;;
    *:eigen) echo eigen3-devel ;;
    dnf:catch2) echo catch-devel ;;
    zypper:catch2) echo Catch2-devel ;;
    *:catch2) echo catch2 ;;
    apt-get:benchmark) echo libbenchmark-dev ;;
    pacman:benchmark) echo benchmark ;;
    brew:benchmark) echo google-benchmark ;;
    dnf:benchmark) echo google-benchmark-devel ;;
    zypper:benchmark) echo benchmark-devel ;;
    *:emscripten) echo emscripten ;;
    apt-get:python | dnf:python | zypper:python) echo python3 ;;
    *:python) echo python ;;
    esac
}

install_packages() {
    local manager=$1 as_root=
    shift
    if [ "$manager" != brew ] && [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && { [ -t 0 ] && sudo -v || sudo -n true; } 2>/dev/null; then
            as_root=sudo
        else
            echo "This user may not install packages. Please have installed with $manager: $*" >&2
            return 1
        fi
    fi
    echo "Installing with $manager: $*"
    case $manager in
    apt-get)
        $as_root apt-get update -qq
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
        ;;
    dnf) $as_root dnf install -y -q "$@" ;;
    pacman) $as_root pacman -S --needed --noconfirm "$@" ;;
    zypper) $as_root zypper --non-interactive install "$@" ;;
    brew) brew install "$@" ;;
    esac
}

prepare() {
    local part missing=() packages=() manager=
    for part in "$@"; do has "$part" || missing+=("$part"); done
    [ ${#missing[@]} -eq 0 ] && return

    for manager in apt-get dnf pacman zypper brew none; do command -v $manager >/dev/null && break; done
    if [ "$manager" = none ]; then
        echo "Missing here: ${missing[*]}. No package manager known to this script was found; please install them." >&2
        return 1
    fi
    for part in "${missing[@]}"; do packages+=($(package_of $manager "$part")); done
    install_packages $manager "${packages[@]}" || return
    for part in "${missing[@]}"; do
        has "$part" || { echo "Still missing after the installation: $part" >&2; return 1; }
    done
}

cores() { echo "${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}"; }

build() {
    local target=$1
    shift
    (cd "$root" && cmake --preset default "$@" && cmake --build build --parallel "$(cores)" --target "$target")
}
