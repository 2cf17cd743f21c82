#pragma once
/// \file
/// What stands at the front of a safetensors file, checked: the names of its tensors, their types, shapes and places.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/interchange/json_text.hpp>
#include <attend/interchange/tensor_names.hpp>
#include <attend/interchange/tensor_types.hpp>

namespace attend::inline ATTEND_ABI {

/// What a file says of a tensor: the type of its numbers ("F64", "F32", "F16", "BF16", "I64", …), its sizes, none of a
/// single number, and where its numbers stand, row by row, in the bytes behind the header.
struct TensorInfo {
    std::string type;                  ///< "F32"
    std::vector<Index> shape;          ///< sizes, the last running fastest
    std::uint64_t begin = 0, end = 0;  ///< in bytes, behind the header
};

namespace detail {

/// Sizes as errors name them, `[2, 3]`, of many the first ones.
inline std::string text_of_sizes(std::span<const Index> sizes) {
    constexpr std::size_t most = 8;
    std::string text = "[";
    for (const Index size : sizes.first(std::min(sizes.size(), most)))
        (text += text.size() > 1 ? ", " : "") += std::to_string(size);
    return text += sizes.size() > most ? ", ...]" : "]";
}

/// The product of sizes; −1 where that is more than any memory.
inline Index elements_of(std::span<const Index> sizes) {
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return 0;
    Index all = 1;
    for (const Index size : sizes) {
        if (size > std::numeric_limits<Index>::max() / all) return -1;
        all *= size;
    }
    return all;
}

class SafetensorsHeader {
public:
    std::map<std::string, TensorInfo, std::less<>> tensors;
    TensorNotes metadata;

    /// Throws unless `header` is one in front of `bytes` bytes of numbers; the text begins with `where`.
    SafetensorsHeader(std::string_view header, std::uint64_t bytes, std::string_view where) : where_(where) {
        read(header);
        check_places(bytes);
    }

private:
    void read(std::string_view header) {
        JsonText text(header, where_);
        if (!header.starts_with('{')) text.refuse_here("a header begins with '{'");
        bool has_metadata = false;
        text.object([&](const std::string& name) {
            if (name != "__metadata__") {
                const auto [at, is_new] = tensors.emplace(name, TensorInfo());
                if (!is_new) refuse(where_, ": there are two tensors ", in_quotes(name));
                return read_tensor(text, name, at->second);
            }
            if (std::exchange(has_metadata, true)) text.refuse_here("there is a second __metadata__");
            text.object([&](const std::string& key) {
                if (!metadata.emplace(key, text.string()).second)
                    text.refuse_here("__metadata__ says " + in_quotes(key) + " twice");
            });
        });
        text.end();
    }
    void read_tensor(JsonText& text, std::string_view name, TensorInfo& tensor) {
        std::vector<std::uint64_t> offsets;
        bool has_type = false, has_shape = false, has_offsets = false;
        const auto once = [&](bool& seen) {
            if (std::exchange(seen, true)) text.refuse_here("tensor " + in_quotes(name) + " says the same thing twice");
        };
        text.object([&](const std::string& key) {
            if (key == "dtype") {
                once(has_type), tensor.type = text.string();
            } else if (key == "shape") {
                once(has_shape), text.array([&] {
                    const std::uint64_t size = text.number();
                    if (size > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()))
                        text.refuse_here("a size is more than any memory");
                    tensor.shape.push_back(static_cast<Index>(size));
                });
            } else if (key == "data_offsets") {
                once(has_offsets), text.array([&] {
                    if (offsets.size() == 2) text.refuse_here("data_offsets are two numbers");
                    offsets.push_back(text.number());
                });
            } else {
                text.refuse_here("tensor " + in_quotes(name) + " says " + in_quotes(key) +
                                 ", which the format does not know");
            }
        });
        if (!has_type || !has_shape || offsets.size() != 2)
            text.refuse_here("tensor " + in_quotes(name) + " lacks dtype, shape or two data_offsets");
        tensor.begin = offsets[0], tensor.end = offsets[1];
        check_size(name, tensor);
    }
    /// Whether a tensor is as long as its shape says.
    void check_size(std::string_view name, const TensorInfo& tensor) const {
        const int bits = bits_of_tensor_type(tensor.type);
        require(bits != 0, where_, ": tensor ", in_quotes(name), " is of an unknown type, ", in_quotes(tensor.type));
        const Index all = elements_of(tensor.shape);
        constexpr Index most = std::numeric_limits<Index>::max() / 64;
        const bool whole = all >= 0 && all <= most && all * bits % 8 == 0;
        const auto bytes = static_cast<std::uint64_t>(whole ? all * bits / 8 : 0);
        if (!whole || tensor.end < tensor.begin || tensor.end - tensor.begin != bytes)
            refuse(where_, ": tensor ", in_quotes(name), " of ", tensor.type, " and shape ",
                   text_of_sizes(tensor.shape), " cannot stand in bytes ", std::to_string(tensor.begin), " to ",
                   std::to_string(tensor.end));
    }
    /// Tensors follow each other without gaps, from the header to the end of the file.
    void check_places(std::uint64_t bytes) const {
        std::vector<const std::pair<const std::string, TensorInfo>*> in_order;
        for (const auto& tensor : tensors) in_order.push_back(&tensor);
        std::sort(in_order.begin(), in_order.end(), [](const auto* a, const auto* b) {
            return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
        });
        std::uint64_t at = 0;
        for (const auto* tensor : in_order) {
            if (tensor->second.begin != at)
                refuse(where_, ": tensor ", in_quotes(tensor->first), " begins at byte ",
                       std::to_string(tensor->second.begin), ", but those before it end at ", std::to_string(at),
                       ": tensors overlap, or there is a gap between them");
            at = tensor->second.end;
        }
        if (at != bytes)
            refuse(where_, ": its tensors take ", std::to_string(at), " bytes, but ", std::to_string(bytes),
                   " follow the header: the file is cut short, or longer than it says");
    }

    std::string_view where_;
};

}  // namespace detail
}  // namespace attend
