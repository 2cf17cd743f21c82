# cmake -DROOT=include/attend -P check_namespaces.cmake: what a header declares stands in `inline ATTEND_ABI`, a name made
# of the switches that change code. Else objects of different switches would share functions that are not the same.
cmake_minimum_required(VERSION 3.21)

set(declares_no_code version.hpp dispatch/boundary.hpp)

set(complaints "")
get_filename_component(ROOT "${ROOT}" ABSOLUTE)
file(GLOB_RECURSE headers RELATIVE "${ROOT}" "${ROOT}/*.hpp")
if(NOT headers)
    message(FATAL_ERROR "No header stands under ${ROOT}")
endif()
list(REMOVE_ITEM headers ${declares_no_code})
foreach(header IN LISTS headers)
    file(STRINGS "${ROOT}/${header}" spaces REGEX "^ *namespace +attend")
    list(FILTER spaces EXCLUDE REGEX "^ *namespace attend::inline ATTEND_ABI[: ]")
    foreach(space IN LISTS spaces)
        string(REGEX REPLACE " *{.*" "" space "${space}")
        list(APPEND complaints "${header}: opens `${space}` without `inline ATTEND_ABI`")
    endforeach()
    # The name comes from core/config.hpp, which every other header reaches by one of attend's.
    file(STRINGS "${ROOT}/${header}" includes REGEX "^#include <attend/")
    if(NOT includes AND NOT header STREQUAL "core/config.hpp")
        list(APPEND complaints "${header}: includes nothing of attend, so nothing tells what ATTEND_ABI is")
    endif()
endforeach()

if(complaints)
    list(JOIN complaints "\n  " complaints)
    message(FATAL_ERROR "Objects of different switches could not be linked into one program:\n  ${complaints}")
endif()
list(LENGTH headers count)
message(STATUS "${count} headers declare in the inline namespace")
