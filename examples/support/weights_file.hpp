#pragma once

#include "files.hpp"
#include "finite.hpp"

#include <attend/interchange/safetensors.hpp>

#include <iostream>
#include <string_view>

/// Trained weights in a safetensors file, which notes of what program and what model they are.
namespace support {

/// Says in words why a file cannot be used.
struct WeightsError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

namespace detail {

inline constexpr std::string_view weights_note = "weights_of";

inline attend::TensorNames named_for(std::string_view made_for) {
    return {.notes = {{std::string(weights_note), std::string(made_for)}}};
}

/// The first parameter that is not finite throughout; none: empty.
template <class Model>
std::string first_not_finite(const Model& model) {
    std::string first;
    attend::visit_parameters(model, [&](std::string_view name, const auto& value) {
        if (first.empty() && !value.allFinite()) first = name;
    });
    return first;
}

}  // namespace detail

/// `made_for` names the program and whatever else decides that weights fit, in one line.
/// Throws where the file cannot be written, and NotFinite, with nothing written, where a weight is not finite.
template <class Model>
void save_weights(const std::filesystem::path& path, std::string_view made_for, const Model& model) {
    const std::string spoilt = detail::first_not_finite(model);
    if (!spoilt.empty()) throw NotFinite(spoilt + " is not finite: weights not saved");
    attend::save_safetensors(path, model, detail::named_for(made_for));
}

/// Throws WeightsError or std::invalid_argument and leaves the model as it was unless the file is whole, made for what
/// begins with `made_for` and a model of these sizes, and holds finite numbers alone.
template <class Model>
void load_weights(const std::filesystem::path& path, std::string_view made_for, Model& model) {
    const attend::Safetensors file(path);
    const auto note = file.metadata().find(detail::weights_note);
    if (note == file.metadata().end() || !note->second.starts_with(made_for))
        throw WeightsError(path.string() + " holds no weights of " + std::string(made_for));
    Model loaded = model;
    attend::load_safetensors(file, loaded);
    const std::string spoilt = detail::first_not_finite(loaded);
    if (!spoilt.empty()) throw WeightsError(path.string() + " is damaged: " + spoilt + " is not finite");
    copy(numbers_of<float>(loaded), numbers_of<float>(model));
    copy(numbers_of<double>(loaded), numbers_of<double>(model));
}

/// Whether the weights of an earlier run are there and fit; says which, or why not.
template <class Model>
bool load_earlier_weights(const std::filesystem::path& path, std::string_view made_for, Model& model) {
    std::error_code failure;
    if (!std::filesystem::exists(path, failure)) return false;
    try {
        load_weights(path, made_for, model);
    } catch (const std::exception& error) {
        std::cout << error.what() << "; training anew" << std::endl;
        return false;
    }
    std::cout << "weights of an earlier run: " << path.string() << " (--retrain starts over)\n";
    return true;
}

}  // namespace support
