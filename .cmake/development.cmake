# Flags and helpers of attend's own tests, examples and benchmarks; nothing here reaches a user of the library.
enable_testing()
set(CMAKE_CXX_EXTENSIONS OFF)
set(ATTEND_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
# A compiler newer than those that the checks know may warn of anything: that must not stop who only wants to run a test.
option(ATTEND_WARNINGS_AS_ERRORS "Make warnings in attend's own tests, examples and benchmarks errors, as the checks do" OFF)
if(ATTEND_WARNINGS_AS_ERRORS)
    list(APPEND ATTEND_WARNINGS -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # False alarms of GCC 12: in `"text" + std::string` and in Eigen's inner products.
    list(APPEND ATTEND_WARNINGS -Wno-restrict -Wno-maybe-uninitialized)
    if(CMAKE_CXX_FLAGS MATCHES "-march=(native|[a-z]+-avx512)")
        list(APPEND ATTEND_WARNINGS -Wno-uninitialized)
    endif()
endif()

add_library(attend_development INTERFACE)
target_link_libraries(attend_development INTERFACE attend::attend)
target_compile_options(attend_development INTERFACE ${ATTEND_WARNINGS})
# GCC looks for garbage each time its memory has doubled, which is a tenth of its time here: so not before a gigabyte.
set(ATTEND_COLLECT_LATE "")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(ATTEND_COLLECT_LATE --param=ggc-min-heapsize=1000000)
endif()
target_compile_options(attend_development INTERFACE ${ATTEND_COLLECT_LATE})

# A source says in its first lines what it needs beyond attend: `// needs: openmp` or `// needs: threads`. Where the
# system has no OpenMP the program is built without it.
function(attend_link_needs target source)
    file(STRINGS "${source}" head LIMIT_INPUT 1000)
    if(head MATCHES "// needs: openmp")
        find_package(OpenMP QUIET COMPONENTS CXX)
        target_link_libraries(${target} PRIVATE $<TARGET_NAME_IF_EXISTS:OpenMP::OpenMP_CXX>)
    endif()
    if(head MATCHES "// needs: threads")
        find_package(Threads REQUIRED)
        target_link_libraries(${target} PRIVATE Threads::Threads)
    endif()
endfunction()
