# cmake -DPROGRAM=<no_exceptions program, behind its emulator where it needs one> -P run.cmake
execute_process(COMMAND ${PROGRAM} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT output STREQUAL "the mean is 1\n")
    message(FATAL_ERROR "Printed:\n${output}")
endif()
string(REGEX REPLACE "qemu: [^\n]*\n" "" errors "${errors}")  # which tells of the abort too
if(NOT errors STREQUAL "attend: q (2x4) and k (3x2) must have the same width\n")
    message(FATAL_ERROR "Printed as the error:\n${errors}")
endif()
if(NOT status MATCHES "[Aa]bort")
    message(FATAL_ERROR "Ended with ${status} instead of aborting")
endif()
