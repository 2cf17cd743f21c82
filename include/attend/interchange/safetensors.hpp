#pragma once
/// \file
/// Saving and loading the parameters of a value, an attention or a block, as a safetensors file:
/// `save_safetensors(file, block)`, `load_safetensors(file, block)`; under others' names by interchange/torch_names.hpp
/// and interchange/llama_names.hpp.

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <attend/core/parameters.hpp>
#include <attend/interchange/safetensors_file.hpp>
#include <attend/interchange/tensor_layout.hpp>

namespace attend::inline ATTEND_ABI {

/// Reads the parameters of `value` from a file. Numbers of other types are converted: those of more bits are rounded.
/// Throws `std::invalid_argument`, before anything is changed, where the file lacks a parameter, holds one of another
/// shape or no floating-point numbers, or holds a tensor under the names' prefix that is no parameter. O(parameters).
template <class Value>
void load_safetensors(const Safetensors& file, Value& value, const TensorNames& names = {}) {
    const detail::TensorLayout layout(value, names);
    for (const detail::LaidOutTensor& tensor : layout.tensors()) {
        const auto at = file.tensors().find(tensor.name);
        if (at == file.tensors().end())
            detail::refuse(file.where(), ": there is no tensor ", detail::in_quotes(tensor.name), ", which is ",
                           tensor.holds);
        if (at->second.shape != tensor.shape)
            detail::refuse(file.where(), ": tensor ", detail::in_quotes(tensor.name), " has the shape ",
                           detail::text_of_sizes(at->second.shape), ", but ", tensor.holds, " needs ",
                           detail::text_of_sizes(tensor.shape));
        if (!detail::with_scalar_of_type(at->second.type, [](auto) {}))
            detail::refuse(file.where(), ": tensor ", detail::in_quotes(tensor.name), " is of ", at->second.type,
                           ", but ", tensor.holds, " is of floating-point numbers");
    }
    for (const auto& [name, info] : file.tensors()) {
        if (name.starts_with(names.prefix) && !layout.find(name) && !layout.ignores(name))
            detail::refuse(file.where(), ": tensor ", detail::in_quotes(name), " is no parameter of what is loaded");
    }
    layout.for_each_part(value, [&](const detail::TensorPart& part, auto& matrix) {
        using T = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
        RowMatrix<T> rows(part.rows, part.columns);
        file.read(layout.tensors()[part.tensor].name, part.first, rows.data(), rows.size());
        if (part.transposed) {
            matrix.matrix() = rows.transpose();
        } else {
            matrix.matrix() = rows;
        }
    });
}
/// From a path, a stream or memory: whatever a `Safetensors` is made from.
template <class From, class Value>
    requires(!std::is_same_v<std::remove_cvref_t<From>, Safetensors> && std::is_constructible_v<Safetensors, From&>)
void load_safetensors(From&& from, Value& value, const TensorNames& names = {}) {
    load_safetensors(Safetensors(from), value, names);
}

namespace detail {

template <class Value>
void write_safetensors(std::ostream& to, const Value& value, const TensorLayout& layout) {
    const std::vector<std::size_t> order = layout.file_order();
    const std::string header = layout.header(order);
    std::array<char, 8> length;
    to_little_endian(static_cast<std::uint64_t>(header.size()), length.data());
    to.write(length.data(), length.size());
    to.write(header.data(), static_cast<std::streamsize>(header.size()));
    std::string bytes;
    const auto flush = [&] { to.write(bytes.data(), static_cast<std::streamsize>(bytes.size())), bytes.clear(); };
    for (const std::size_t tensor : order) {
        layout.for_each_part(value, [&](const TensorPart& part, const auto& matrix) {
            if (part.tensor != tensor) return;
            using T = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
            for (Index i = 0; i < part.rows; ++i) {
                for (Index j = 0; j < part.columns; ++j) {
                    const T number = part.transposed ? matrix.coeff(j, i) : matrix.coeff(i, j);
                    bytes.resize(bytes.size() + sizeof(T));
                    to_little_endian(number, &bytes[bytes.size() - sizeof(T)]);
                    if (bytes.size() >= 65536) flush();
                }
            }
        });
    }
    flush();
    to.flush();
}

}  // namespace detail

/// Writes the parameters of `value`, each in its own scalar type: the same bytes for the same parameters, numbers of
/// more bits first and then by name. Throws `std::invalid_argument`, before anything is written, where names do not
/// fit, and where the stream takes no more.
template <class Value>
void save_safetensors(std::ostream& to, const Value& value, const TensorNames& names = {}) {
    detail::write_safetensors(to, value, detail::TensorLayout(value, names));
    detail::require(static_cast<bool>(to), "save_safetensors: the stream takes no more");
}
/// Into a file, which is replaced once all of the new one stands beside it. Throws where it cannot be written.
template <class Value>
void save_safetensors(const std::filesystem::path& file, const Value& value, const TensorNames& names = {}) {
    const detail::TensorLayout layout(value, names);
    std::filesystem::path part = file;
    part += ".part";
    std::ofstream to(part, std::ios::binary | std::ios::trunc);
    detail::require(to.is_open(), "save_safetensors: ", detail::in_quotes(part.string()), " cannot be opened");
    detail::write_safetensors(to, value, layout);
    to.close();
    std::error_code error;
    const bool written = static_cast<bool>(to);
    if (written) std::filesystem::rename(part, file, error);
    if (written && !error) return;
    std::filesystem::remove(part, error);
    detail::refuse("save_safetensors: ", detail::in_quotes(file.string()), " cannot be written, or not to its end");
}

}  // namespace attend
