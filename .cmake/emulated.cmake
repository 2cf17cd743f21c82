# Cross-compiles with GCC for a processor that this machine is not, ATTEND_TRIPLE, and runs by QEMU what it built, with the
# libraries that the compiler brings.
set(ATTEND_TRIPLE aarch64-linux-gnu CACHE STRING "Such as arm-linux-gnueabihf")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ATTEND_TRIPLE)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR "${ATTEND_TRIPLE}")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_CXX_COMPILER "${ATTEND_TRIPLE}-g++")

execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=libc.so.6
    OUTPUT_VARIABLE libc OUTPUT_STRIP_TRAILING_WHITESPACE)
get_filename_component(libraries "${libc}" REALPATH)
get_filename_component(libraries "${libraries}" DIRECTORY)
get_filename_component(sysroot "${libraries}" DIRECTORY)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-${CMAKE_SYSTEM_PROCESSOR}" -L "${sysroot}")
