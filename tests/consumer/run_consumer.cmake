# Installs attend beside the consumer, then configures, builds and runs the consumer, from nothing each time.
function(run)
    execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(prefix "${SCRATCH}/prefix")
set(build "${SCRATCH}/build")
file(REMOVE_RECURSE "${SCRATCH}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${ATTEND_BINARY_DIR}" --prefix "${prefix}"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
run("${CMAKE_COMMAND}" -S "${CONSUMER}" -B "${build}" "${EIGEN}"
    "-DCMAKE_PREFIX_PATH=${prefix}"
    "-DATTEND_SOURCE_DIR=${ATTEND_SOURCE_DIR}"
    "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}"
    "-DCMAKE_CXX_FLAGS=${CMAKE_CXX_FLAGS}"
    "-DATTEND_WARNINGS=${ATTEND_WARNINGS}")
run("${CMAKE_COMMAND}" --build "${build}")
run("${build}/consumer")
