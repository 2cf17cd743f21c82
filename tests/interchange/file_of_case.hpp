#pragma once
/// \file
/// A conformance case's parameters as the file that PyTorch would have saved, and the gradients of a block as such.

#include <map>
#include <sstream>
#include <string>

#include <attend/interchange/safetensors.hpp>
#include <golden/golden.hpp>

namespace attend::test {

/// Tensors of any names, as a value with parameters.
struct NamedTensors {
    std::map<std::string, RowMatrix<double>> matrices{};
    std::map<std::string, ColumnVector<double>> vectors{};

    static void parameters(auto& self, auto&& visit) {
        for (auto& [name, matrix] : self.matrices) visit(name, matrix);
        for (auto& [name, vector] : self.vectors) visit(name, vector);
    }
};

/// What a case calls a tensor, by its name in the file.
using CaseNames = std::map<std::string, std::string>;

/// The bytes of a file with those of the tensors that are among the case's inputs.
inline std::string file_of_case(const Case& c, const CaseNames& names) {
    NamedTensors tensors;
    for (const auto& [in_file, in_case] : names) {
        if (!c.has_in(in_case)) continue;
        const Tensor& tensor = c.in(in_case);
        if (tensor.shape.size() == 2) {
            tensors.matrices[in_file] = tensor.matrix<double>();
        } else {
            tensors.vectors[in_file] = tensor.matrix<double>().reshaped();
        }
    }
    const auto place = [&](std::string_view name) -> TensorPlace {
        const std::string own(name);
        return {.name = own, .rank = static_cast<int>(c.in(names.at(own)).shape.size())};
    };
    std::ostringstream file;
    save_safetensors(file, tensors, {.place = place});
    return file.str();
}

/// Compares a block's gradient, in the layout of the file, with what the case expects.
template <class Block>
void check_gradients_as_file(const Block& gradient, const TensorNames& names, const CaseNames& in_case,
                             Comparison& comparison) {
    std::stringstream bytes;
    save_safetensors(bytes, gradient, names);
    const Safetensors file(bytes);
    for (const auto& [name, info] : file.tensors()) {
        INFO(name);
        REQUIRE(in_case.count(name) == 1);
        comparison.check("d" + in_case.at(name), file.matrix<double>(name));
    }
}

}  // namespace attend::test
