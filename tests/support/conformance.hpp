#pragma once
/// \file
/// Reads conformance cases: text files with one operator's attributes, inputs and expected outputs.
///
///     # what the case is and where its figures come from
///     op NAME
///     attr NAME TYPE VALUE
///     in NAME DTYPE RANK SHAPE…     (then one line with all values, row-major)
///     out NAME DTYPE RANK SHAPE…    (likewise)

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <attend/core/types.hpp>

namespace attend::test {

/// Any number of dimensions, row-major, every type of value as double.
struct Tensor {
    std::string type;
    std::vector<Index> shape;
    std::vector<double> values;

    Index size() const { return static_cast<Index>(values.size()); }
    Index columns() const { return shape.empty() ? 1 : shape.back(); }

    /// All leading dimensions as rows; a vector is one row.
    template <class T>
    RowMatrix<T> matrix() const {
        const Index rows = columns() == 0 ? 0 : size() / columns();
        return Eigen::Map<const RowMatrix<double>>(values.data(), rows, columns()).template cast<T>();
    }
    /// The values in other memory, for what takes pointers.
    template <class T>
    std::vector<T> as() const {
        std::vector<T> converted;
        for (const double value : values) converted.push_back(static_cast<T>(value));
        return converted;
    }
};

/// One file.
struct Case {
    std::string name, op;
    std::map<std::string, std::string> attributes;
    std::map<std::string, Tensor> inputs, outputs;

    const Tensor& in(const std::string& tensor) const { return found(inputs, tensor); }
    const Tensor& out(const std::string& tensor) const { return found(outputs, tensor); }
    bool has_in(const std::string& tensor) const { return inputs.count(tensor) != 0; }

    double number(const std::string& attribute) const { return std::stod(found(attributes, attribute)); }
    double number(const std::string& attribute, double otherwise) const {
        return attributes.count(attribute) != 0 ? number(attribute) : otherwise;
    }
    Index integer(const std::string& attribute) const { return std::stol(found(attributes, attribute)); }
    Index integer(const std::string& attribute, Index otherwise) const {
        return attributes.count(attribute) != 0 ? integer(attribute) : otherwise;
    }

private:
    template <class Values>
    const typename Values::mapped_type& found(const Values& among, const std::string& wanted) const {
        const auto at = among.find(wanted);
        if (at == among.end()) throw std::out_of_range(name + " holds no '" + wanted + "'");
        return at->second;
    }
};

namespace detail {

/// The rest of an `in` or `out` line, and the line of values behind it.
inline Tensor read_tensor(std::istream& words, std::istream& file, const std::string& where) {
    Tensor tensor;
    std::size_t rank = 0;
    words >> tensor.type >> rank;
    tensor.shape.resize(rank);
    for (Index& size : tensor.shape) words >> size;
    std::string line, value;
    std::getline(file, line);
    std::istringstream values(line);
    while (values >> value) tensor.values.push_back(std::strtod(value.c_str(), nullptr));  // >> reads no inf, nan
    const Index size = std::accumulate(tensor.shape.begin(), tensor.shape.end(), Index(1), std::multiplies<>());
    if (!words || tensor.size() != size) throw std::runtime_error(where + ": shape and values do not fit");
    return tensor;
}

}  // namespace detail

inline Case read_case(const std::filesystem::path& path) {
    Case result;
    result.name = path.stem().string();
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string kind, name, type;
        words >> kind;
        if (kind == "op") {
            words >> result.op;
        } else if (kind == "attr") {
            words >> name >> type;
            std::getline(words >> std::ws, result.attributes[name]);
        } else if (kind == "in" || kind == "out") {
            words >> name;
            (kind == "in" ? result.inputs : result.outputs)[name] =
                detail::read_tensor(words, file, result.name + ", " + name);
        } else if (!line.empty() && kind != "#") {
            throw std::runtime_error(result.name + ": unknown line '" + line.substr(0, 40) + "'");
        }
    }
    if (result.op.empty()) throw std::runtime_error(path.string() + " is no conformance case");
    return result;
}

/// Every case of a folder, by name.
inline std::vector<Case> read_cases(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".txt") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<Case> cases;
    for (const auto& path : paths) cases.push_back(read_case(path));
    return cases;
}

}  // namespace attend::test
