#pragma once
/// \file
/// Under which names, and how laid out, a file holds the parameters of a value.

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI {

/// Where a file holds a parameter.
struct TensorPlace {
    std::string name;         ///< that of the tensor. Parameters with one name stand below each other in it, as visited
    bool transposed = false;  ///< it holds the transpose, as of weights that are out × in there
    int rank = 0;             ///< how many sizes it has, the first ones 1; 0: those of a matrix, vector or number
};

/// Notes in a file's header, such as "format": "pt".
using TensorNotes = std::map<std::string, std::string, std::less<>>;

/// What a file calls the parameters of a value (`visit_parameters` tells their own names). By default: the same.
struct TensorNames {
    /// In front of all names: `"layers.3.self_attn."`. Tensors of a file that do not begin so are others' affair.
    std::string prefix = {};
    /// From a parameter's own name; an empty name says that the file does not hold it.
    std::function<TensorPlace(std::string_view own)> place = {};
    /// Tensors that may stand there too, without the prefix; of others it is an error.
    std::vector<std::string> ignored = {};
    /// What is noted in the header of a file that is written.
    TensorNotes notes = {};

    /// The full place of a parameter; without a name, of one that is not in the file.
    TensorPlace of(std::string_view own) const {
        TensorPlace at = place ? place(own) : TensorPlace{.name = std::string(own)};
        if (!at.name.empty()) at.name.insert(0, prefix);
        return at;
    }
};

/// The same names, but of the parameters whose own names begin with `beginning` there are none in the file: loading
/// leaves them as they are, and saving leaves them out. `without("attention.", torch_names(…))`: slopes and sinks that
/// are constants of the model.
inline TensorNames without(std::string_view beginning, TensorNames names) {
    names.place = [beginning = std::string(beginning), place = std::move(names.place)](std::string_view own) {
        if (own.starts_with(beginning)) return TensorPlace{};
        return place ? place(own) : TensorPlace{.name = std::string(own)};
    };
    return names;
}

}  // namespace attend
