# What attend, its tests and its benchmarks stand on: the system's package where there is one, else a release pinned by
# its hash. Each function leaves an imported target behind; only Eigen is needed by those who use the library.
include(FetchContent)

# Leaves Eigen3::Eigen, visible to the parent project too. Eigen is asked for without a version, since a request for
# 3.4 would turn Eigen 5 away.
function(attend_find_eigen)
    if(TARGET Eigen3::Eigen)
        return()
    endif()
    find_package(Eigen3 CONFIG QUIET)
    if(NOT Eigen3_FOUND)
        message(STATUS "No Eigen found here: fetching Eigen 3.4.0")
        # The subdirectory does not exist on purpose: Eigen's headers are wanted, its build and its tests are not.
        FetchContent_Declare(eigen
            URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
            URL_HASH SHA256=8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72
            SOURCE_SUBDIR headers-only)
        FetchContent_MakeAvailable(eigen)
        add_library(Eigen3::Eigen INTERFACE IMPORTED)
        target_include_directories(Eigen3::Eigen INTERFACE "${eigen_SOURCE_DIR}")
    elseif(Eigen3_VERSION VERSION_LESS 3.4)
        message(FATAL_ERROR "attend needs Eigen 3.4 or later; found ${Eigen3_VERSION} in ${Eigen3_DIR}")
    else()
        message(STATUS "Eigen ${Eigen3_VERSION} in ${Eigen3_DIR}")
    endif()
    set_target_properties(Eigen3::Eigen PROPERTIES IMPORTED_GLOBAL TRUE)
endfunction()

# Leaves Catch2::Catch2, of version 3 or 2.
function(attend_find_catch2)
    if(CMAKE_CROSSCOMPILING)
        # Of this system's Catch2 only the headers of version 2 serve, without those that stand beside them.
        find_path(catch2_folder catch2/catch.hpp NO_CACHE)
        if(catch2_folder)
            message(STATUS "Catch2's headers in ${catch2_folder}/catch2")
            file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/headers")
            file(CREATE_LINK "${catch2_folder}/catch2" "${PROJECT_BINARY_DIR}/headers/catch2" SYMBOLIC)
            add_library(Catch2::Catch2 INTERFACE IMPORTED)
            target_include_directories(Catch2::Catch2 INTERFACE "${PROJECT_BINARY_DIR}/headers")
            return()
        endif()
    else()
        find_package(Catch2 CONFIG QUIET)
        if(Catch2_FOUND)
            message(STATUS "Catch2 ${Catch2_VERSION} in ${Catch2_DIR}")
            return()
        endif()
    endif()
    message(STATUS "No Catch2 found here: fetching Catch2 3.5.4")
    FetchContent_Declare(Catch2
        URL https://github.com/catchorg/Catch2/archive/refs/tags/v3.5.4.tar.gz
        URL_HASH SHA256=b7754b711242c167d8f60b890695347f90a1ebc95949a045385114165d606dbb)
    FetchContent_MakeAvailable(Catch2)
    attend_silence(Catch2)
endfunction()

# Leaves benchmark::benchmark.
function(attend_find_benchmark)
    find_package(benchmark CONFIG QUIET)
    if(benchmark_FOUND)
        message(STATUS "Google Benchmark ${benchmark_VERSION} in ${benchmark_DIR}")
        return()
    endif()
    message(STATUS "No Google Benchmark found here: fetching Google Benchmark 1.8.3")
    set(BENCHMARK_ENABLE_TESTING OFF CACHE BOOL "" FORCE)
    set(BENCHMARK_ENABLE_INSTALL OFF CACHE BOOL "" FORCE)
    FetchContent_Declare(benchmark
        URL https://github.com/google/benchmark/archive/refs/tags/v1.8.3.tar.gz
        URL_HASH SHA256=6bc180a57d23d4d9515519f92b0c83d61b05b5bab188961f36ac7b06b0d9e9ce)
    FetchContent_MakeAvailable(benchmark)
    attend_silence(benchmark)
endfunction()

# Our warnings may be errors, and a fetched library's headers would be held to them.
function(attend_silence target)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    target_include_directories(${target} SYSTEM INTERFACE ${directories})
endfunction()
