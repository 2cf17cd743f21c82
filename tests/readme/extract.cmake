# Makes programs of the code in a Markdown page.
#
# What a page's ```cpp blocks mean:
# - a block with `int main` is a program of its own;
# - the others of one heading are one test, in order, over the operands of prelude.hpp; a paragraph of a block that begins
#   with `#include`, `struct`, `template` or `namespace` stands before it;
# - `expression;  // == 0.25` must hold, in as many decimals as are written; a comma and words may follow;
# - a statement followed by a line `// attend: words` must throw exactly these words, one followed by a line
#   `// error: attend: words` must not compile, and the compiler say them;
# - of a table whose last column is headed "Code", every span of code there must compile and run: `>> part` behind
#   scaled_dot_product, `.field = value` in the shape of a block.
# - a ```cmake block is the end of a project whose target is your_target, made of the page's first program.
# A failure names the page's line. Text is never a list here: CMake would split it at its semicolons.

# One line of a test, checks made of its comments.
function(attend_checked_line line number result)
    if(line MATCHES "^ *([^ ].*); +// == (\"[^\"]*\"|[^,]*)")
        set(statement "${CMAKE_MATCH_1}")
        set(value "${CMAKE_MATCH_2}")
        string(REGEX REPLACE "([\"\\\\])" "\\\\\\1" value "${value}")
        set(line "REQUIRE(attend_readme::as_in(\"${value}\", (${statement})) == \"${value}\");")
    endif()
    set(${result} "${line}" PARENT_SCOPE)
endfunction()

# Cuts the last line of a paragraph, a statement, off.
function(attend_cut_statement paragraph rest statement)
    string(REGEX MATCH "([^\n]*);\n$" found "${paragraph}")
    set(${statement} "${CMAKE_MATCH_1}" PARENT_SCOPE)
    string(LENGTH "${paragraph}" length)
    string(LENGTH "${found}" cut)
    math(EXPR kept "${length} - ${cut}")
    string(SUBSTRING "${paragraph}" 0 ${kept} paragraph)
    set(${rest} "${paragraph}" PARENT_SCOPE)
endfunction()

# The code of the spans in a table's last column.
function(attend_table_code row number result)
    string(REGEX REPLACE "^.*[^\\\\]\\| (.*) \\|$" "\\1" cell "${row}")
    string(REPLACE "\\|" "|" cell "${cell}")
    set(code "")
    while(cell MATCHES "^[^`]*`([^`]+)`(.*)$")
        set(span "${CMAKE_MATCH_1}")
        set(cell "${CMAKE_MATCH_2}")
        if(span MATCHES "^>> ")
            set(span "scaled_dot_product ${span}")
        elseif(span MATCHES "^[.]")
            set(span "MultiHeadShape{.d_model = 64, .heads = 8, ${span}}")
        endif()
        string(APPEND code "#line ${number}\nstatic_cast<void>(${span});\n")
    endwhile()
    set(${result} "${code}" PARENT_SCOPE)
endfunction()

# Writes PREFIX_nSUFFIX, as the next of a list of files.
function(attend_write_next files prefix suffix content)
    list(LENGTH ${files} count)
    math(EXPR count "${count} + 1")
    set(file "${prefix}_${count}${suffix}")
    file(CONFIGURE OUTPUT "${file}" CONTENT "@content@" @ONLY)
    set(${files} ${${files}} "${file}" PARENT_SCOPE)
endfunction()

# Writes FOLDER/NAME_sections.cpp, if the page has code of sections, FOLDER/NAME_program_1.cpp … of its programs,
# FOLDER/NAME_mistake_1.cpp … of what must not compile and FOLDER/NAME_project_1/CMakeLists.txt … of its projects. Leaves
# their names in `sections`, `programs`, `mistakes` and `projects`.
function(attend_extract_code page folder name sections programs mistakes projects)
    file(READ "${page}" text)
    file(RELATIVE_PATH shown "${PROJECT_SOURCE_DIR}" "${page}")
    set(number 0)
    set(heading "${shown}")
    set(language "")       # of the block that is open
    set(table_of_code OFF)
    set(includes "")       # of the whole page
    set(tests "")          # of the whole page
    set(before "")         # of the section: what stands before its test
    set(body "")           # of the section
    set(operands Operands)
    set(all_programs "")
    set(all_mistakes "")
    set(all_projects "")
    set(at_end OFF)
    while(NOT at_end)
        string(FIND "${text}" "\n" end)
        if(end EQUAL -1)
            set(line "# the end")
            set(at_end ON)
        else()
            string(SUBSTRING "${text}" 0 ${end} line)
            math(EXPR next "${end} + 1")
            string(SUBSTRING "${text}" ${next} -1 text)
        endif()
        math(EXPR number "${number} + 1")

        # A paragraph ends; a definition's at its brace.
        if(language STREQUAL "cpp" AND (line STREQUAL "```" OR (line STREQUAL "" AND
            (NOT paragraph MATCHES "^(struct|template|namespace) " OR paragraph MATCHES "\n};?\n$"))))
            if(paragraph MATCHES "^#include")
                string(APPEND includes "${paragraph}")
            elseif(paragraph MATCHES "^(struct|template|namespace) ")
                string(APPEND before "#line ${paragraph_number} \"${page}\"\n${paragraph}")
            else()
                string(APPEND section_of_block "#line ${paragraph_number} \"${page}\"\n${paragraph}")
            endif()
            math(EXPR paragraph_number "${number} + 1")
            set(paragraph "")
        endif()

        if(language AND line STREQUAL "```")
            if(language STREQUAL "cpp")
                if(block MATCHES "int main[(]")
                    attend_write_next(all_programs "${folder}/${name}_program" .cpp
                        "#line ${block_number} \"${page}\"\n${block}")
                else()
                    string(APPEND body "${section_of_block}")
                endif()
            elseif(language STREQUAL "cmake")
                string(CONCAT content "cmake_minimum_required(VERSION 3.21)\nproject(reader LANGUAGES CXX)\n"
                    "set(FETCHCONTENT_SOURCE_DIR_ATTEND \"${PROJECT_SOURCE_DIR}\")\n"
                    "add_executable(your_target ../${name}_program_1.cpp)\n"
                    "set_target_properties(your_target PROPERTIES OUTPUT_NAME consumer)\n${block}")
                attend_write_next(all_projects "${folder}/${name}_project" /CMakeLists.txt "${content}")
            endif()
            set(language "")
        elseif(language STREQUAL "cmake")
            string(APPEND block "${line}\n")
        elseif(language STREQUAL "cpp")
            string(APPEND block "${line}\n")
            if(line MATCHES "^ *// (error: )?(attend: .*)$")
                set(by_compiler "${CMAKE_MATCH_1}")
                set(words "${CMAKE_MATCH_2}")
                attend_cut_statement("${paragraph}" paragraph statement)
                if(by_compiler)
                    attend_write_next(all_mistakes "${folder}/${name}_mistake" .cpp
                        "// expect: ${words}\n#include <attend/attend.hpp>\nusing namespace attend;\n${statement};\n")
                    string(APPEND paragraph "\n\n")
                else()
                    string(REGEX REPLACE "([\"\\\\])" "\\\\\\1" words "${words}")
                    string(APPEND paragraph "REQUIRE_THROWS_WITH(([&] { ${statement}; }()), \"${words}\");\n\n")
                endif()
            elseif(NOT line STREQUAL "" OR paragraph)
                attend_checked_line("${line}" ${number} line)
                string(APPEND paragraph "${line}\n")
            endif()
        elseif(NOT language AND line MATCHES "^```([a-z]+)$")
            set(language "${CMAKE_MATCH_1}")
            set(block "")
            set(section_of_block "")
            set(paragraph "")
            math(EXPR block_number "${number} + 1")
            set(paragraph_number ${block_number})
        elseif(NOT language AND line MATCHES "^#+ (.*)$")
            set(next_heading "${CMAKE_MATCH_1}")
            if(body)
                string(REGEX REPLACE "[^A-Za-z0-9 .]" "" title "${shown} ${heading}")
                string(APPEND tests "namespace section_${number} {\n${before}"
                    "TEST_CASE_METHOD(attend_readme::${operands}, \"${title}\") {\n${body}}\n}\n")
            endif()
            set(heading "${next_heading}")
            set(before "")
            set(body "")
            set(operands Operands)
        elseif(NOT language AND line MATCHES "^\\|.*\\| Code \\|$")
            set(table_of_code ON)
            set(operands TableOperands)
        elseif(table_of_code AND line MATCHES "^\\|.*`")
            attend_table_code("${line}" ${number} code)
            string(APPEND body "#line ${number} \"${page}\"\n${code}")
        elseif(NOT line MATCHES "^\\|")
            set(table_of_code OFF)
        endif()
    endwhile()
    if(language)
        message(FATAL_ERROR "${shown}:${block_number}: this block does not end")
    endif()

    set(${sections} "" PARENT_SCOPE)
    if(tests)
        set(source "${folder}/${name}_sections.cpp")
        set(content "${includes}#include <readme/prelude.hpp>\nusing namespace attend;\n${tests}")
        file(CONFIGURE OUTPUT "${source}" CONTENT "@content@" @ONLY)
        set(${sections} "${source}" PARENT_SCOPE)
    endif()
    set(${programs} "${all_programs}" PARENT_SCOPE)
    set(${mistakes} "${all_mistakes}" PARENT_SCOPE)
    set(${projects} "${all_projects}" PARENT_SCOPE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${page}")
endfunction()
