# Puts the page together from its parts, which stand beside this file, and the module:
# cmake -D WASM=page.wasm -D PAGE=attention.html -D PYTHON=python3 -P assemble.cmake
file(READ "${CMAKE_CURRENT_LIST_DIR}/page.css" page_style)
file(READ "${CMAKE_CURRENT_LIST_DIR}/page.js" page_script)
execute_process(COMMAND "${PYTHON}" -m base64 -e "${WASM}" OUTPUT_VARIABLE page_wasm COMMAND_ERROR_IS_FATAL ANY)
configure_file("${CMAKE_CURRENT_LIST_DIR}/page.html" "${PAGE}" @ONLY)
