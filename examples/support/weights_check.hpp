#pragma once

#include "temporary_directory.hpp"
#include "weights_file.hpp"

#include <limits>
#include <utility>

/// What the self-checks of both programs ask of saved weights.
namespace support {

namespace detail {

template <class Model>
bool is_refused(const std::filesystem::path& path, std::string_view made_for, Model& model) {
    try {
        load_weights(path, made_for, model);
    } catch (const std::exception&) {
        return true;
    }
    return false;
}

template <class Model>
bool same_weights(Model& a, Model& b) {
    return same_numbers(numbers_of<float>(a), numbers_of<float>(b)) &&
           same_numbers(numbers_of<double>(a), numbers_of<double>(b));
}

}  // namespace detail

/// Saved weights come back as they were; cut short, made for something else, or of the sizes of `other_sizes` they are
/// refused, and what was there before stays.
template <class Model>
bool weights_survive(Model& model, Model other, Model other_sizes) {
    const TemporaryDirectory directory("weights");
    const std::filesystem::path path = directory.path() / "weights";
    save_weights(path, "a test", model);
    const auto refused = [&](Model& into, std::string_view made_for = "a test") {
        return detail::is_refused(path, made_for, into);
    };
    bool right = refused(other_sizes) && refused(other, "another test") && !detail::same_weights(model, other);
    load_weights(path, "a test", other);
    right = right && detail::same_weights(model, other);

    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    return right && refused(other) && detail::same_weights(model, other);
}

/// Wherever a weight is not finite, the model is not saved, and a file that holds it, otherwise whole, is not loaded.
template <class Model>
bool weights_stay_finite(const Model& model) {
    const TemporaryDirectory directory("weights");
    const std::filesystem::path path = directory.path() / "weights";
    Model spoilt = model, kept = model;
    bool right = true;
    const auto spoil = [&](auto& number, auto value) {
        const auto was = std::exchange(number, value);
        bool saved = true;
        try {
            save_weights(path, "a test", spoilt);
        } catch (const NotFinite&) {
            saved = std::filesystem::exists(path);
        }
        attend::save_safetensors(path, spoilt, detail::named_for("a test"));
        right = right && !saved && detail::is_refused(path, "a test", kept);
        std::filesystem::remove(path);
        number = was;
    };
    attend::visit_parameters(spoilt, [&](std::string_view, auto& value) {
        using T = typename std::remove_cvref_t<decltype(value)>::Scalar;
        spoil(value.data()[0], std::numeric_limits<T>::quiet_NaN());
        spoil(value.data()[value.size() - 1], -std::numeric_limits<T>::infinity());
    });
    return right && detail::same_weights(spoilt, kept);
}

/// Whether training comes to a number that is not finite, and says so.
template <class Train>
bool diverges(const Train& train) {
    try {
        train();
    } catch (const NotFinite&) {
        return true;
    }
    return false;
}

}  // namespace support
