# cmake -DROOT=include/attend -P check_includes.cmake: includes point down, and Eigen::internal has one door.
cmake_minimum_required(VERSION 3.21)

set(floors  # lowest first
    "version.hpp"
    "core"
    "softmax"
    "engine"
    "source"
    "call"
    "score modifier mask position insight"
    "normalizer"
    "parts"
    "kernel"
    "attention_calls.hpp"
    "attention.hpp"
    "dispatch"
    "prepared.hpp shared_prefix.hpp dispatch.hpp"
    "location_decoder.hpp"
    "prefixed_cache.hpp"
    "mixer"
    "layer"
    "interchange"
    "attend.hpp")
set(may_include_own_kind core softmax engine source call insight parts kernel dispatch mixer layer interchange)
set(may_be_included_by_own_kind mask/algebra.hpp mask/block_sparse.hpp position/frequencies.hpp score/additive.hpp)
set(may_name_eigen_internal core/simd_eigen_packets.hpp)

# The height of a header's first path component, or -1 where no floor is named after it.
function(floor_of header result)
    string(REGEX REPLACE "/.*" "" place "${header}")
    set(height -1)
    foreach(floor IN LISTS floors)
        math(EXPR height "${height} + 1")
        string(REPLACE " " ";" places "${floor}")
        if(place IN_LIST places)
            set(${result} ${height} PARENT_SCOPE)
            return()
        endif()
    endforeach()
    set(${result} -1 PARENT_SCOPE)
endfunction()

# What is wrong with `including` naming `included`, in words; empty where nothing is.
function(judge including included result)
    floor_of("${including}" from)
    floor_of("${included}" to)
    string(REGEX REPLACE "/.*" "" from_place "${including}")
    string(REGEX REPLACE "/.*" "" to_place "${included}")
    set(${result} "" PARENT_SCOPE)
    if(to EQUAL -1)
        set(${result} "${included} stands on no floor that this check knows" PARENT_SCOPE)
    elseif(from_place STREQUAL to_place)
        if(NOT from_place IN_LIST may_include_own_kind AND NOT included IN_LIST may_be_included_by_own_kind)
            set(${result} "headers of ${from_place} do not include each other, but here ${included}" PARENT_SCOPE)
        endif()
    elseif(NOT to LESS from)
        set(${result} "${from_place} includes ${included}, which is not below it" PARENT_SCOPE)
    endif()
endfunction()

set(complaints "")
get_filename_component(ROOT "${ROOT}" ABSOLUTE)
file(GLOB_RECURSE headers RELATIVE "${ROOT}" "${ROOT}/*.hpp")
if(NOT headers)
    message(FATAL_ERROR "No header stands under ${ROOT}")
endif()
foreach(header IN LISTS headers)
    floor_of("${header}" height)
    if(height EQUAL -1)
        list(APPEND complaints "${header}: stands on no floor that this check knows")
    endif()

    file(READ "${ROOT}/${header}" text)
    string(REGEX REPLACE "[][;]" "_" text "${text}")  # these would upset CMake's lists
    string(REGEX REPLACE "//[^\n]*" "" text "${text}")
    string(REPLACE "\n" ";" lines "${text}")
    set(number 0)
    foreach(line IN LISTS lines)
        math(EXPR number "${number} + 1")
        set(complaint "")
        if(line MATCHES "^ *# *include *<attend/([^>]+)>")
            judge("${header}" "${CMAKE_MATCH_1}" complaint)
        elseif(line MATCHES "^ *# *include *\"")
            set(complaint "an include in quotes, where <attend/...> belongs")
        elseif(line MATCHES "Eigen::internal|namespace internal" AND NOT header IN_LIST may_name_eigen_internal)
            set(complaint "Eigen::internal may be named in ${may_name_eigen_internal} only")
        endif()
        if(complaint)
            list(APPEND complaints "${header}:${number}: ${complaint}")
        endif()
    endforeach()
endforeach()

if(complaints)
    list(JOIN complaints "\n  " complaints)
    message(FATAL_ERROR "Includes do not keep to the floors of the library:\n  ${complaints}")
endif()
list(LENGTH headers count)
message(STATUS "${count} headers keep to their floors")
