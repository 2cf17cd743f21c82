#pragma once
/// \file
/// How the parameters of a value make up the tensors of a file.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/core/parameters.hpp>
#include <attend/interchange/safetensors_header.hpp>
#include <attend/interchange/tensor_names.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What one parameter is in the file: rows × columns numbers of a tensor, from number `first` on.
struct TensorPart {
    std::size_t tensor;
    Index first, rows, columns;
    bool transposed;  ///< the parameter is columns × rows
};

/// A tensor of one parameter, or of several that stand below each other.
struct LaidOutTensor {
    std::string name, type, holds;  ///< holds: the parameters' own names
    std::vector<Index> shape;
};

class TensorLayout {
public:
    template <class Value>
    TensorLayout(Value& value, const TensorNames& names) : names_(names) {
        const auto place = [this](const ParameterName& parameter, const auto& matrix) {
            this->add(parameter.text(), matrix);
        };
        walk_parameters(value, {}, place);
    }

    const std::vector<LaidOutTensor>& tensors() const { return tensors_; }
    const LaidOutTensor* find(std::string_view name) const {
        const auto at = numbers_.find(name);
        return at == numbers_.end() ? nullptr : &tensors_[at->second];
    }
    /// Whether a tensor that is no parameter may stand in the file.
    bool ignores(std::string_view name) const {
        name.remove_prefix(names_.prefix.size());
        return std::find(names_.ignored.begin(), names_.ignored.end(), name) != names_.ignored.end();
    }
    /// Calls `f(part, matrix)` for every parameter that the file holds.
    template <class Value, class F>
    void for_each_part(Value& value, const F& f) const {
        std::size_t i = 0;
        const auto each = [&](const ParameterName&, auto& matrix) {
            const TensorPart& part = parts_[i++];
            if (part.tensor < tensors_.size()) f(part, matrix);
        };
        walk_parameters(value, {}, each);
    }

    /// Numbers of more bits first, so that all are aligned, then by name.
    std::vector<std::size_t> file_order() const {
        std::vector<std::size_t> order(tensors_.size());
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            const int more = bits_of_tensor_type(tensors_[a].type), fewer = bits_of_tensor_type(tensors_[b].type);
            return more != fewer ? more > fewer : tensors_[a].name < tensors_[b].name;
        });
        return order;
    }
    /// The text in front of the tensors in that order, of a multiple of 8 bytes.
    std::string header(const std::vector<std::size_t>& order) const {
        std::string text = "{";
        const auto member = [&](std::string_view key) {
            (text += text.size() > 1 ? "," : "") += json_string(key) + ":";
        };
        if (!names_.notes.empty()) {
            member("__metadata__");
            std::string_view before = "{";
            for (const auto& [key, note] : names_.notes) {
                (text += before) += json_string(key) + ":" + json_string(note);
                before = ",";
            }
            text += '}';
        }
        std::uint64_t at = 0;
        for (const std::size_t i : order) {
            const LaidOutTensor& tensor = tensors_[i];
            const std::uint64_t begin = at;
            at += static_cast<std::uint64_t>(elements_of(tensor.shape) * (bits_of_tensor_type(tensor.type) / 8));
            member(tensor.name);
            text += "{\"dtype\":\"" + tensor.type + "\",\"shape\":[";
            for (std::size_t d = 0; d < tensor.shape.size(); ++d)
                (text += d > 0 ? "," : "") += std::to_string(tensor.shape[d]);
            text += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(at) + "]}";
        }
        text += '}';
        text.append((8 - text.size() % 8) % 8, ' ');
        return text;
    }

private:
    template <class M>
    void add(std::string own, const M& matrix) {
        const TensorPlace place = names_.of(own);
        require(is_utf8(place.name) && place.name != "__metadata__", "parameter ", own, " cannot be called ",
                in_quotes(place.name), " in a file");
        if (place.name.empty()) return parts_.push_back({no_tensor, 0, 0, 0, false});
        constexpr bool number = M::RowsAtCompileTime == 1 && M::ColsAtCompileTime == 1,
                       vector = M::IsVectorAtCompileTime && !number;
        require(!place.transposed || !(number || vector), "parameter ", own, " has no transpose, which ",
                in_quotes(place.name), " would hold");
        std::vector<Index> shape;
        if (vector) shape = {matrix.size()};
        if (!number && !vector) shape = {matrix.rows(), matrix.cols()};
        if (place.transposed) std::swap(shape[0], shape[1]);
        const TensorPart part{0, 0, shape.empty() ? 1 : shape[0], shape.size() < 2 ? 1 : shape[1],
                              place.transposed || (vector && M::RowsAtCompileTime == 1)};
        if (place.rank > 0) shape.insert(shape.begin(), ones_in_front(place, own, shape.size()), 1);
        put(part, place.name, own, tensor_type_of<typename M::Scalar>(), shape);
    }
    static std::size_t ones_in_front(const TensorPlace& place, std::string_view own, std::size_t sizes) {
        const auto rank = static_cast<std::size_t>(place.rank);
        require(rank >= sizes, "parameter ", own, " has ", sizes, " sizes, more than the rank ", place.rank, " of ",
                in_quotes(place.name));
        return rank - sizes;
    }
    /// A part of a tensor of its own, or below those that stand in one already.
    void put(TensorPart part, const std::string& name, std::string_view own, std::string_view type,
             const std::vector<Index>& shape) {
        const auto [at, is_new] = numbers_.emplace(name, tensors_.size());
        part.tensor = at->second;
        if (is_new) {
            tensors_.push_back({name, std::string(type), std::string(own), shape});
        } else {
            LaidOutTensor& tensor = tensors_[part.tensor];
            require(static_cast<bool>(names_.place), "two parameters are called ", in_quotes(own), ": which is which?");
            const bool fits = !shape.empty() && shape.size() == tensor.shape.size() && type == tensor.type &&
                              std::equal(shape.begin() + 1, shape.end(), tensor.shape.begin() + 1);
            require(fits, "parameter ", own, ", of ", type, " and shape ", text_of_sizes(shape),
                    ", cannot stand below ", tensor.holds, ", of ", tensor.type, " and shape ",
                    text_of_sizes(tensor.shape), ", in one tensor ", in_quotes(name));
            part.first = elements_of(tensor.shape);
            tensor.shape[0] += shape[0];
            (tensor.holds += " and ") += own;
        }
        parts_.push_back(part);
    }

    static constexpr std::size_t no_tensor = static_cast<std::size_t>(-1);

    const TensorNames& names_;
    std::vector<TensorPart> parts_;  ///< one for each parameter, in the order of visits
    std::vector<LaidOutTensor> tensors_;
    std::map<std::string, std::size_t, std::less<>> numbers_;
};

}  // namespace attend
