#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace support {

/// A file that cannot be read or written.
struct FileError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// All of a file's bytes.
inline std::string read_file(const std::filesystem::path& path) {
    std::error_code failure;
    const bool folder = std::filesystem::is_directory(path, failure);  // some systems open one, and fail at reading it
    std::ifstream file(path, std::ios::binary);
    if (folder || !file) throw FileError(path.string() + " cannot be read");
    std::string content(std::istreambuf_iterator<char>(file), {});
    if (file.bad()) throw FileError(path.string() + " cannot be read to its end");
    return content;
}

namespace detail {

/// Whether something stands at `path` that a file must not take the place of: a folder, a device.
inline bool is_taken(const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
}

/// Where a file is written before it gets its name: a program that is stopped leaves no half file under that.
inline std::filesystem::path unfinished(std::filesystem::path path) { return path += ".part"; }

}  // namespace detail

inline void write_file(const std::filesystem::path& path, std::string_view content) {
    const std::filesystem::path unfinished = detail::unfinished(path);
    bool written = false;
    std::error_code failure;
    if (!detail::is_taken(path)) {
        std::ofstream file(unfinished, std::ios::binary);
        file.write(content.data(), static_cast<std::streamsize>(content.size()));
        file.close();
        written = file.good();
        if (written) std::filesystem::rename(unfinished, path, failure);
    }
    if (written && !failure) return;
    std::filesystem::remove(unfinished, failure);
    throw FileError(path.string() + " cannot be written");
}

/// Throws where `write_file` would: asked before minutes are spent on what is to be written.
inline void require_writable(const std::filesystem::path& path) {
    const std::filesystem::path unfinished = detail::unfinished(path);
    const bool written =
        !detail::is_taken(path) && std::ofstream(unfinished, std::ios::binary).put('\n').flush().good();
    std::error_code ignored;
    std::filesystem::remove(unfinished, ignored);
    if (!written) throw FileError(path.string() + " cannot be written");
}

}  // namespace support
