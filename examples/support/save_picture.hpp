#pragma once

#include "files.hpp"

#include <iostream>
#include <sstream>

namespace support {

/// Writes what `draw(stream)` draws, and says so.
template <class Draw>
void save_picture(const std::filesystem::path& path, std::string_view what, const Draw& draw) {
    std::ostringstream picture;
    draw(picture);
    write_file(path, picture.str());
    std::cout << what << ", as a picture: " << path.string() << "\n\n";
}

}  // namespace support
