# cmake -DROOT=include/attend -P check_portable.cmake: constructs of GCC and Clang alone stand where a compiler without
# them has something else.
cmake_minimum_required(VERSION 3.21)

# What a header may say, since it asks first which compiler reads it. All others may say none of it.
set(core/simd_gnu_packets.hpp "gnu::vector_size;__builtin_shufflevector;__GNUC__")
set(core/simd_gnu_lanes.hpp "gnu::vector_size;__builtin_shufflevector;__builtin_convertvector")
set(core/config.hpp "__attribute__;__declspec;__GNUC__;__clang__;_MSC_VER;no_unique_address;#pragma GCC;_Pragma")
set(core/read_ahead.hpp "__builtin_prefetch;__GNUC__;__clang__")
set(core/simd.hpp "#pragma GCC;__GNUC__;__clang__")
set(core/simd_arithmetic.hpp "__GNUC__;__clang__")
set(core/stored.hpp "_MSC_VER")
set(core/amx.hpp "asm volatile")
set(dispatch/processor.hpp "asm volatile;__x86_64__;__GNUC__")
set(kernel/tiny.hpp "#pragma GCC;__GNUC__;__clang__")
set(constructs "gnu::[a-z_]+" "__attribute__" "__declspec" "__builtin_[a-z_]+" "__restrict" "__extension__" "__typeof"
    "__GNUC__" "__clang__" "_MSC_VER" "__int128" "_Float16" "__bf16" "__PRETTY_FUNCTION__" "asm volatile" "__asm"
    "_Pragma" "#pragma GCC" "#pragma clang" "no_unique_address" "__x86_64__" "ssize_t"
    "M_PI")

set(complaints "")
get_filename_component(ROOT "${ROOT}" ABSOLUTE)
file(GLOB_RECURSE headers RELATIVE "${ROOT}" "${ROOT}/*.hpp")
if(NOT headers)
    message(FATAL_ERROR "No header stands under ${ROOT}")
endif()
foreach(header IN LISTS headers)
    file(READ "${ROOT}/${header}" text)
    string(REGEX REPLACE "[][;]" "_" text "${text}")  # these would upset CMake's lists
    string(REGEX REPLACE "//[^\n]*" "" text "${text}")
    foreach(construct IN LISTS constructs)
        string(REGEX MATCHALL "${construct}" found "${text}")
        list(REMOVE_DUPLICATES found)
        list(REMOVE_ITEM found ${${header}} __builtin_bit_cast)  # which Microsoft's compiler has as well
        if(found)
            list(APPEND complaints "${header}: ${found}")
        endif()
    endforeach()
endforeach()

if(complaints)
    list(JOIN complaints "\n  " complaints)
    message(FATAL_ERROR "Not every compiler understands:\n  ${complaints}")
endif()
list(LENGTH headers count)
message(STATUS "${count} headers are for any compiler")
