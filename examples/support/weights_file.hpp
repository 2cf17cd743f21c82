#pragma once

#include "files.hpp"
#include "finite.hpp"

#include <attend/core/parameters.hpp>

#include <cstdint>
#include <cstring>
#include <iostream>
#include <sstream>
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

/// Whether all numbers of type T in these bytes, aligned or not, are finite.
template <class T>
bool are_finite(std::string_view bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
        T number;
        std::memcpy(&number, bytes.data() + at, sizeof number);
        if (!std::isfinite(number)) return false;
    }
    return true;
}

/// What a file of these weights holds.
template <class Model>
std::string content_of_weights(std::string_view made_for, const Model& model) {
    std::string content = first_line(made_for);
    attend::visit_parameters(model, [&](std::string_view name, const auto& value) {
        content += heading(name, value);
        content.append(reinterpret_cast<const char*>(value.data()), bytes_of(value));
    });
    const std::uint64_t sum = checksum(content);
    content.append(reinterpret_cast<const char*>(&sum), sizeof sum);
    return content;
}

}  // namespace detail

/// `made_for` names the program and whatever else decides that weights fit, in one line.
/// Throws FileError where the file cannot be written, and NotFinite, with nothing written, where a weight is not
/// finite.
template <class Model>
void save_weights(const std::filesystem::path& path, std::string_view made_for, const Model& model) {
    attend::visit_parameters(model, [&](std::string_view name, const auto& value) {
        if (!value.allFinite()) throw NotFinite(std::string(name) + " is not finite: weights not saved");
    });
    write_file(path, detail::content_of_weights(made_for, model));
}

/// Throws WeightsError or FileError and leaves the model as it was unless the file is whole, made for `made_for` and a
/// model of these sizes, and holds finite numbers alone.
template <class Model>
void load_weights(const std::filesystem::path& path, std::string_view made_for, Model& model) {
    const std::string content = read_file(path);
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
        using Scalar = typename std::remove_cvref_t<decltype(value)>::Scalar;
        const std::string heading = detail::heading(name, value);
        if (!rest.starts_with(heading) || rest.size() < heading.size() + detail::bytes_of(value))
            throw WeightsError(path.string() + " is of another model: it lacks " +
                               heading.substr(0, heading.size() - 1));
        values.push_back(rest.substr(heading.size(), detail::bytes_of(value)));
        if (!detail::are_finite<Scalar>(values.back()))
            throw WeightsError(path.string() + " is damaged: " + std::string(name) + " is not finite");
        rest.remove_prefix(heading.size() + detail::bytes_of(value));
    });
    if (!rest.empty()) throw WeightsError(path.string() + " is of another model: it holds more");
    auto next = values.begin();
    attend::visit_parameters(model, [&](std::string_view, auto& value) {
        std::memcpy(value.data(), next->data(), next->size());
        ++next;
    });
}

/// Whether the weights of an earlier run are there and fit; says which, or why not.
template <class Model>
bool load_earlier_weights(const std::filesystem::path& path, std::string_view made_for, Model& model) {
    std::error_code failure;
    if (!std::filesystem::exists(path, failure)) return false;
    try {
        load_weights(path, made_for, model);
    } catch (const std::runtime_error& error) {
        std::cout << error.what() << "; training anew" << std::endl;
        return false;
    }
    std::cout << "weights of an earlier run: " << path.string() << " (--retrain starts over)\n";
    return true;
}

}  // namespace support
