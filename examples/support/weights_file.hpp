#pragma once

#include <attend/core/parameters.hpp>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Trained weights in a file: a line that says of what program and what model, each parameter as a line "name rows
/// columns" and its numbers as they lie in memory, and a checksum of it all.
namespace support {

/// Says in words why a file cannot be used.
struct WeightsError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// FNV-1a: enough to notice damage, not malice.
inline std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
    return hash;
}

namespace detail {

inline std::string first_line(std::string_view made_for) { return "attend weights of " + std::string(made_for) + '\n'; }

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

/// `made_for` names the program and whatever else decides that weights fit, in one line.
/// Writes beside `path` first, then renames: a run that is stopped leaves no half file.
template <class Model>
void save_weights(const std::filesystem::path& path, std::string_view made_for, const Model& model) {
    std::string content = detail::first_line(made_for);
    attend::visit_parameters(model, [&](std::string_view name, const auto& value) {
        content += detail::heading(name, value);
        content.append(reinterpret_cast<const char*>(value.data()), detail::bytes_of(value));
    });
    const std::uint64_t sum = checksum(content);
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

/// Throws WeightsError and leaves the model as it was unless the file is whole and made for `made_for` and a model of
/// these sizes.
template <class Model>
void load_weights(const std::filesystem::path& path, std::string_view made_for, Model& model) {
    std::ifstream file(path, std::ios::binary);
    const std::string content(std::istreambuf_iterator<char>(file), {});
    const std::string first_line = detail::first_line(made_for);
    if (!content.starts_with(first_line))
        throw WeightsError(path.string() + " holds no weights of " + std::string(made_for));
    std::uint64_t sum = 0;
    if (content.size() < first_line.size() + sizeof sum) throw WeightsError(path.string() + " is cut short");
    const std::string_view body(content.data(), content.size() - sizeof sum);
    std::memcpy(&sum, content.data() + body.size(), sizeof sum);
    if (sum != checksum(body)) throw WeightsError(path.string() + " is damaged: its checksum is wrong");

    // First a look at all of it, then the change.
    std::string_view rest = body.substr(first_line.size());
    std::vector<std::string_view> values;
    attend::visit_parameters(model, [&](std::string_view name, const auto& value) {
        const std::string heading = detail::heading(name, value);
        if (!rest.starts_with(heading) || rest.size() < heading.size() + detail::bytes_of(value))
            throw WeightsError(path.string() + " is of another model: it lacks " +
                               heading.substr(0, heading.size() - 1));
        values.push_back(rest.substr(heading.size(), detail::bytes_of(value)));
        rest.remove_prefix(heading.size() + detail::bytes_of(value));
    });
    auto next = values.begin();
    attend::visit_parameters(model, [&](std::string_view, auto& value) {
        std::memcpy(value.data(), next->data(), next->size());
        ++next;
    });
}

}  // namespace support
