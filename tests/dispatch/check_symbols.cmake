# cmake -DNM=nm -DREADELF=readelf -DOBJECT=file -DLEVEL=level -P check_symbols.cmake: an object of wider instructions defines
# nothing but its own four functions for others, be it weak or unique, has no group of sections that the linker might take
# from it or give to others, and runs nothing when a program starts.
cmake_minimum_required(VERSION 3.21)

execute_process(COMMAND "${NM}" --defined-only --extern-only "${OBJECT}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(TRANSFORM symbols REPLACE "^[0-9a-f]+ +" "")
list(SORT symbols)
set(right "")
foreach(scalar bf16 f16 f32 f64)
    list(APPEND right "T attend_dispatch_${LEVEL}_${scalar}")
endforeach()
if(NOT symbols STREQUAL right)
    message(FATAL_ERROR "${OBJECT} defines [${symbols}], not [${right}]")
endif()
if(READELF)
    execute_process(COMMAND "${READELF}" --wide --sections --section-groups "${OBJECT}"
        OUTPUT_VARIABLE sections COMMAND_ERROR_IS_FATAL ANY)
    if(sections MATCHES "COMDAT|GROUP ")
        message(FATAL_ERROR "${OBJECT} has groups of sections")
    endif()
    if(sections MATCHES "[.](init_array|ctors|preinit_array|init)[ .]")
        message(FATAL_ERROR "${OBJECT} has code that runs when a program starts")
    endif()
endif()
message(STATUS "${OBJECT} defines its four functions and nothing else")
