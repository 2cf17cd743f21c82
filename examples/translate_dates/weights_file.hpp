#pragma once

#include "model.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

/// Trained weights in a file: a line that names the format, each parameter as a line "name rows columns" and its
/// numbers as they lie in memory, and a checksum of it all.
namespace translate_dates {

/// Says in words why a file cannot be used.
struct WeightsError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

namespace detail {

inline constexpr std::string_view weights_format = "attend translate_dates weights 1\n";

/// FNV-1a: enough to notice damage, not malice.
inline std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
    return hash;
}

template <class Matrix>
std::string heading(std::string_view name, const Matrix& value) {
    std::ostringstream line;
    line << name << ' ' << value.rows() << ' ' << value.cols() << '\n';
    return line.str();
}

template <class Matrix>
std::size_t bytes_of(const Matrix& value) {
    return static_cast<std::size_t>(value.size()) * sizeof(typename Matrix::Scalar);
}

}  // namespace detail

/// Writes beside `path` first, then renames: a run that is stopped leaves no half file.
template <class T>
void save_weights(const std::filesystem::path& path, const Translator<T>& model) {
    std::string content(detail::weights_format);
    attend::visit_parameters(model, [&](std::string_view name, const auto& value) {
        content += detail::heading(name, value);
        content.append(reinterpret_cast<const char*>(value.data()), detail::bytes_of(value));
    });
    const std::uint64_t sum = detail::checksum(content);
    content.append(reinterpret_cast<const char*>(&sum), sizeof sum);

    std::filesystem::path unfinished = path;
    unfinished += ".part";
    std::ofstream file(unfinished, std::ios::binary);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    file.close();
    std::error_code failure;
    if (file) std::filesystem::rename(unfinished, path, failure);
    if (!file || failure) throw WeightsError("cannot write " + path.string());
}

/// Throws WeightsError and leaves the model as it was unless the file is whole and made for a model of these sizes.
template <class T>
void load_weights(const std::filesystem::path& path, Translator<T>& model) {
    std::ifstream file(path, std::ios::binary);
    const std::string content(std::istreambuf_iterator<char>(file), {});
    if (!content.starts_with(detail::weights_format))
        throw WeightsError(path.string() + " is of another version or no weights file");
    std::uint64_t sum = 0;
    if (content.size() < detail::weights_format.size() + sizeof sum)
        throw WeightsError(path.string() + " is cut short");
    const std::string_view body(content.data(), content.size() - sizeof sum);
    std::memcpy(&sum, content.data() + body.size(), sizeof sum);
    if (sum != detail::checksum(body)) throw WeightsError(path.string() + " is damaged: its checksum is wrong");

    Translator<T> loaded = model;
    std::string_view rest = body.substr(detail::weights_format.size());
    attend::visit_parameters(loaded, [&](std::string_view name, auto& value) {
        const std::string heading = detail::heading(name, value);
        if (!rest.starts_with(heading) || rest.size() < heading.size() + detail::bytes_of(value))
            throw WeightsError(path.string() + " is of another model: it lacks " +
                               heading.substr(0, heading.size() - 1));
        std::memcpy(value.data(), rest.data() + heading.size(), detail::bytes_of(value));
        rest.remove_prefix(heading.size() + detail::bytes_of(value));
    });
    model = std::move(loaded);
}

}  // namespace translate_dates
