# Cross-compiles for 64-bit ARM with GCC, and runs by QEMU what it built, with the libraries that the compiler brings.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=libc.so.6
    OUTPUT_VARIABLE libc OUTPUT_STRIP_TRAILING_WHITESPACE)
get_filename_component(libraries "${libc}" REALPATH)
get_filename_component(libraries "${libraries}" DIRECTORY)
get_filename_component(sysroot "${libraries}" DIRECTORY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L "${sysroot}")
