# A test: runs PROGRAM with ARGUMENTS and fails unless it exits with CODE, writes to standard error what WORDS match, and
# leaves no file under the name ABSENT.
execute_process(COMMAND ${PROGRAM} ${ARGUMENTS} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT code STREQUAL CODE)
    message(FATAL_ERROR "exit code ${code} instead of ${CODE}\n${output}${errors}")
endif()
if(NOT errors MATCHES "${WORDS}")
    message(FATAL_ERROR "nothing about \"${WORDS}\" on standard error:\n${errors}")
endif()
file(GLOB left "${ABSENT}*")
if(ABSENT AND left)
    message(FATAL_ERROR "it left ${left}")
endif()
