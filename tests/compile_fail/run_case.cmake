# cmake -DCOMPILE=<compiler;and;flags> -DHEADER=<flags|of|the|compiled|header> -DSOURCE=<case.cpp> -P run_case.cmake
#
# A case holds `// expect: words` lines, perhaps one `// flags: -flags` for the compiler, and
#     #ifdef ATTEND_TEST_VALID
#         the good spelling
#     #else
#         the mistake
#     #endif
# The mistake must be refused with all of those words. The good spelling must compile: else the mistake could be
# refused for a reason that has nothing to do with it. Here that is asked of a case with flags; of all others it is asked
# by the test good_spellings.
file(STRINGS "${SOURCE}" expectations REGEX "^// expect: .")
if(NOT expectations)
    message(FATAL_ERROR "${SOURCE} says nothing after `// expect:`")
endif()

file(STRINGS "${SOURCE}" flags REGEX "^// flags: .")
string(REPLACE "// flags: " "" flags "${flags}")
separate_arguments(flags)
if(flags)
    execute_process(COMMAND ${COMPILE} ${flags} -DATTEND_TEST_VALID "${SOURCE}" RESULT_VARIABLE status ERROR_VARIABLE output)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "The good spelling does not compile:\n${output}")
    endif()
else()  # with other flags the header would be another
    string(REPLACE "|" ";" flags "${HEADER}")
endif()

execute_process(COMMAND ${COMPILE} ${flags} "${SOURCE}" RESULT_VARIABLE status ERROR_VARIABLE output)
if(status EQUAL 0)
    message(FATAL_ERROR "The mistake compiles")
endif()
foreach(expectation IN LISTS expectations)
    string(REPLACE "// expect: " "" words "${expectation}")
    string(FIND "${output}" "${words}" position)
    if(position EQUAL -1)
        message(FATAL_ERROR "The mistake is refused, but not with the words \"${words}\":\n${output}")
    endif()
endforeach()
