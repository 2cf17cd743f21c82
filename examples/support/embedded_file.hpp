#pragma once

#include <string>

namespace support {

/// All bytes of the file that the program's main.cpp names behind `// embeds:`. CMake puts them into a source of its
/// own, so that the program runs wherever it is carried.
std::string embedded_file();

}  // namespace support
