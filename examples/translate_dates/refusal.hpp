#pragma once

#include "translation.hpp"

#include <optional>

/// Why a text is no date, in words. A network always answers something; these rules decide whether the answer may be
/// shown. None of them knows the order in which a date is written: that is what the model has learnt.
namespace translate_dates {

using Reason = std::optional<std::string>;

namespace detail {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) { return lower_case(c) >= 'a' && lower_case(c) <= 'z'; }
inline bool names_month(const std::string& word) { return month_begun_by(word) > 0; }

/// The longest stretches of characters of one kind, in lower case.
template <class Kind>
std::vector<std::string> runs(const std::string& text, Kind kind) {
    std::vector<std::string> found;
    bool inside = false;
    for (const char c : text) {
        if (kind(c) && !inside) found.emplace_back();
        inside = kind(c);
        if (inside) found.back() += lower_case(c);
    }
    return found;
}

/// The numbers of a text, 19790503 cut into three.
inline std::vector<std::string> numbers_in(const std::string& text) {
    std::vector<std::string> numbers = runs(text, is_digit);
    if (numbers.size() == 1 && numbers[0].size() == 8)
        numbers = {numbers[0].substr(0, 4), numbers[0].substr(4, 2), numbers[0].substr(6, 2)};
    return numbers;
}

inline std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

/// The first word that dates are not written with, in quotation marks.
inline Reason strange_word(const std::string& text) {
    constexpr std::array<std::string_view, 6> small_words{"the", "of", "st", "nd", "rd", "th"};
    for (const std::string& word : runs(text, is_letter)) {
        const bool weekday = std::ranges::any_of(weekday_names, [&](std::string_view name) {
            return word[0] == lower_case(name[0]) && word.substr(1, 2) == name.substr(1, 2);
        });
        if (!names_month(word) && !weekday && std::ranges::find(small_words, word) == small_words.end())
            return in_quotes(word);
    }
    return std::nullopt;
}

/// The character at `place`, whole even where UTF-8 takes several bytes for it.
inline std::string_view whole_character(std::string_view text, std::size_t place) {
    std::size_t length = 1;
    while (place + length < text.size() && (static_cast<unsigned char>(text[place + length]) & 0xC0U) == 0x80U)
        ++length;
    return text.substr(place, length);
}

}  // namespace detail

/// What every date has and this text lacks; nothing if the model should look at it.
inline Reason why_unreadable(const std::string& text) {
    if (text.empty()) return "the text is empty";
    if (text.size() > longest_text)
        return "it is longer than " + std::to_string(longest_text) + " characters, which is more than a date takes";
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (input_alphabet.find(lower_case(text[i])) == std::string_view::npos)
            return detail::in_quotes(detail::whole_character(text, i)) + " is no character that dates are written with";
    }

    const auto numbers = detail::numbers_in(text);
    if (numbers.empty()) return "there is no digit in it, and a date has a day and a year";
    for (const std::string& number : numbers) {
        if (number.size() == 3 || number.size() > 4)
            return number + " is neither a day, nor a month, nor a year of two or four digits";
    }
    if (std::ranges::any_of(detail::runs(text, detail::is_letter), detail::names_month)) {
        if (numbers.size() < 2) return "beside the month it needs a day and a year";
    } else if (numbers.size() < 3) {
        const Reason word = detail::strange_word(text);
        return word ? *word + " is not the name of a month" : "it has neither the name of a month nor three numbers";
    }
    const auto may_be_day = [](const std::string& number) { return std::stoi(number) >= 1 && std::stoi(number) <= 31; };
    if (std::ranges::none_of(numbers, may_be_day)) return "none of its numbers can be a day, 1 to 31";
    return std::nullopt;
}

/// What is wrong with the model's answer; nothing if it is a date to be trusted.
inline Reason why_no_date(const Translation& translation) {
    const std::string& iso = translation.answer;
    if (iso == no_date) {
        const Reason word = detail::strange_word(translation.text);
        return "the model sees no date in it" + (word ? ", and " + *word + " is no word of dates" : "");
    }
    for (std::size_t i = 0; i < iso.size(); ++i) {
        const bool right = i == 4 || i == 7 ? iso[i] == '-' : detail::is_digit(iso[i]);
        if (!right) return "the model makes of it " + detail::in_quotes(iso) + ", which is no ISO date";
    }

    const int year = std::stoi(iso.substr(0, 4));
    const int month = std::stoi(iso.substr(5, 2));
    const int day = std::stoi(iso.substr(8, 2));
    if (month < 1 || month > 12) return "there is no month " + std::to_string(month);
    const std::chrono::year_month_day_last last_day = std::chrono::year{year} / month / std::chrono::last;
    const int days = static_cast<int>(static_cast<unsigned>(last_day.day()));
    if (day < 1 || day > days)
        return std::string(month_names[static_cast<std::size_t>(month - 1)]) + " " + std::to_string(year) + " has " +
               std::to_string(days) + " days and no day " + std::to_string(day);

    const auto numbers = detail::numbers_in(translation.text);
    const auto words = detail::runs(translation.text, detail::is_letter);
    const auto has_number = [&](int value) {
        return std::ranges::any_of(numbers, [&](const std::string& number) { return std::stoi(number) == value; });
    };
    const bool month_there =
        std::ranges::any_of(words, [&](const std::string& word) { return month_begun_by(word) == month; });
    if (!has_number(day) || !(has_number(year) || has_number(year % 100)) || !(month_there || has_number(month)))
        return "the model reads " + iso + ", which is not what it says";

    constexpr double least_probability = 0.5;
    if (translation.probability < least_probability)
        return "the model is not sure enough of its reading, " + iso + " (" +
               std::to_string(static_cast<int>(100 * translation.probability)) + " %)";
    return std::nullopt;
}

}  // namespace translate_dates
