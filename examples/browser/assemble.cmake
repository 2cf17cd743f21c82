# Puts the page together from its parts, which stand beside this file, and the module:
# cmake -D WASM=page.wasm -D PAGE=attention.html -D PYTHON=python3 -P assemble.cmake
file(READ "${CMAKE_CURRENT_LIST_DIR}/page.css" page_style)
foreach(part IN ITEMS library drawing page)
    file(READ "${CMAKE_CURRENT_LIST_DIR}/${part}.js" ${part}_script)
endforeach()
execute_process(COMMAND "${PYTHON}" -m base64 -e "${WASM}" OUTPUT_VARIABLE page_wasm COMMAND_ERROR_IS_FATAL ANY)
configure_file("${CMAKE_CURRENT_LIST_DIR}/page.html" "${PAGE}" @ONLY)
