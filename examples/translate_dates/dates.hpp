#pragma once

#include "text.hpp"

#include <array>
#include <chrono>
#include <string>
#include <string_view>

/// Dates as people write them, each with its one ISO 8601 answer.
///
/// Every text has one answer because of four conventions:
///   - `/` and `-` between three numbers: month, day, year; but day, month, year where the first is no month
///   (25/12/79);
///   - `.` between three numbers: day.month.year;
///   - a year of four digits that comes first: year, month, day, whatever stands between;
///   - a year of two digits lies between 1950 and 2049.
/// A weekday is decoration: it is drawn at random, so that the model learns to look past it.
namespace translate_dates {

using Date = std::chrono::year_month_day;

/// What the model reads and what it should write: "1979-05-03", or `no_date`.
struct Example {
    std::string text;
    std::string answer;
};

/// As long as an ISO date, so that every answer has the same length.
inline constexpr std::string_view no_date = "not a date";

inline constexpr std::array<std::string_view, 12> month_names{"January",   "February", "March",    "April",
                                                              "May",       "June",     "July",     "August",
                                                              "September", "October",  "November", "December"};
inline constexpr std::array<std::string_view, 7> weekday_names{"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                               "Friday", "Saturday", "Sunday"};

inline std::string padded(int number, std::size_t width) {
    const std::string digits = std::to_string(number);
    return digits.size() < width ? std::string(width - digits.size(), '0') + digits : digits;
}

/// The parts of a date before they are put in order. Non-dates are made by spoiling a part.
struct Parts {
    int year;
    int month;
    int day;
    std::string month_word;
};

inline std::string iso(const Parts& parts) {
    return padded(parts.year, 4) + "-" + padded(parts.month, 2) + "-" + padded(parts.day, 2);
}

namespace detail {

inline constexpr int first_short_year = 1950;

inline std::string year_word(int year, Random& random) {
    const bool in_window = year >= first_short_year && year < first_short_year + 100;
    return in_window && random.chance(45) ? padded(year % 100, 2) : padded(year, 4);
}

inline std::string day_ordinal(int day) {
    const bool teen = day / 10 == 1;
    const char* suffix = teen ? "th" : day % 10 == 1 ? "st" : day % 10 == 2 ? "nd" : day % 10 == 3 ? "rd" : "th";
    return std::to_string(day) + suffix;
}

/// The name, at times with a letter forgotten, or an abbreviation.
inline std::string month_word(int month, Random& random) {
    std::string name(month_names[static_cast<std::size_t>(month - 1)]);
    const int form = random.below(10);
    if (form == 0 && name.size() > 4)
        name.erase(static_cast<std::size_t>(random.between(3, static_cast<int>(name.size()) - 1)), 1);
    if (form < 5) return name;
    if (month == 9 && form == 5) return "Sept";
    return name.substr(0, 3) + (form == 6 && month != 5 ? "." : "");
}

inline std::string weekday_word(Random& random) {
    const std::string name(random.pick(weekday_names));
    return random.chance(50) ? name : name.substr(0, 3) + (random.chance(20) ? "." : "");
}

inline std::string in_some_case(std::string text, Random& random) {
    const int form = random.below(10);
    if (form >= 5) return text;
    const bool upper = form < 2;
    for (char& c : text) {
        if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

inline std::string write_in_numbers(const Parts& parts, Random& random) {
    const std::size_t width = random.chance(50) ? 2 : 1;
    const std::string month = padded(parts.month, width);
    const std::string day = padded(parts.day, width);
    const std::string year = year_word(parts.year, random);
    constexpr std::array separators{"-", "/", ".", " "};
    switch (random.below(8)) {
        case 0:
            return month + "/" + day + "/" + year;
        case 1:
            return month + "-" + day + "-" + year;
        case 2:
        case 3: {
            const std::string between = random.pick(std::array{"/", "-"});
            return (parts.day > 12 ? day + between + month : month + between + day) + between + year;
        }
        case 4:
            return day + "." + month + "." + year;
        case 5:
            return padded(parts.year, 4) + padded(parts.month, 2) + padded(parts.day, 2);
        default: {
            const std::string between = random.pick(separators);
            return padded(parts.year, 4) + between + month + between + day;
        }
    }
}

inline std::string write_in_words(const Parts& parts, Random& random) {
    constexpr std::array weekday_ends{", ", " "};
    constexpr std::array separators{" ", " ", " ", "-", "/", "."};
    constexpr std::array year_separators{", ", " ", " '"};
    const std::string& month = parts.month_word;
    const std::string number = padded(parts.day, random.chance(25) ? 2 : 1);
    const std::string ordinal = day_ordinal(parts.day);
    const std::string day = random.chance(50) ? number : ordinal;

    std::string year = year_word(parts.year, random);
    std::string before_year = random.pick(year_separators);
    if (year.size() == 4 && before_year == " '") before_year = " ";

    std::string text;
    if (random.chance(30)) text = weekday_word(random) + random.pick(weekday_ends);
    switch (random.below(9)) {
        case 0:
            return text + number + " " + month + " " + year;
        case 1:
            return text + day + " " + month + before_year + year;
        case 2:
            return text + "the " + ordinal + " of " + month + before_year + year;
        case 3:
            return text + day + " of " + month + before_year + year;
        case 4:
            return text + month + " " + day + before_year + year;
        case 5:
            return text + month + " " + number + ", " + year;
        case 6:
            return text + month + " the " + ordinal + before_year + year;
        case 7: {
            const std::string between = random.pick(separators);
            return text + number + between + month + between + year;
        }
        default: {
            const std::string between = random.pick(separators);
            return padded(parts.year, 4) + between + month + between + number;
        }
    }
}

inline std::string write(const Parts& parts, Random& random) {
    return in_some_case(random.chance(40) ? write_in_numbers(parts, random) : write_in_words(parts, random), random);
}

/// Day and month are drawn apart, so 31 February occurs: the model copies it, the calendar refuses it.
inline Parts draw_parts(Random& random) {
    const int year = random.chance(60) ? first_short_year + random.below(100) : random.between(1000, 2999);
    const int month = random.between(1, 12);
    return {year, month, random.between(1, 31), month_word(month, random)};
}

inline Date date_of(const Parts& parts) {
    return {std::chrono::year{parts.year}, std::chrono::month{static_cast<unsigned>(parts.month)},
            std::chrono::day{static_cast<unsigned>(parts.day)}};
}

/// One date in eight is never seen in training.
inline bool held_out(const Parts& parts) { return (parts.year * 372 + parts.month * 31 + parts.day) % 8 == 0; }

}  // namespace detail

/// 1 to 12 for a word, in lower case, that begins with the first three letters of a month; 0 for any other.
inline int month_begun_by(std::string_view word) {
    for (std::size_t month = 0; month < month_names.size(); ++month) {
        const std::string_view name = month_names[month];
        const char first = static_cast<char>(name[0] - 'A' + 'a');
        if (word.size() >= 3 && word[0] == first && word.substr(1, 2) == name.substr(1, 2))
            return static_cast<int>(month) + 1;
    }
    return 0;
}

/// A date that may be trained on; two in a hundred of them are no calendar dates, such as 31 February.
inline Example training_date(Random& random) {
    Parts parts = detail::draw_parts(random);
    while (detail::held_out(parts)) parts = detail::draw_parts(random);
    return {detail::write(parts, random), iso(parts)};
}

/// A calendar date that training never shows in any of its writings.
inline Example held_out_date(Random& random) {
    Parts parts = detail::draw_parts(random);
    while (!detail::held_out(parts) || !detail::date_of(parts).ok()) parts = detail::draw_parts(random);
    return {detail::write(parts, random), iso(parts)};
}

/// Text that resembles a date, more or less, and is none.
inline Example non_date(Random& random) {
    const auto nonsense_word = [&] {
        std::string word;
        while (word.empty() || month_begun_by(word) > 0) {
            word.clear();
            for (int length = random.between(2, 9); length > 0; --length)
                word += static_cast<char>('a' + random.below(26));
        }
        return word;
    };
    Parts parts = detail::draw_parts(random);
    std::string text;
    switch (random.below(6)) {
        case 0:  // a sentence
            text = nonsense_word();
            for (int words = random.below(4); words > 0; --words)
                text += " " + (random.chance(30) ? std::to_string(random.below(3000)) : nonsense_word());
            break;
        case 1:  // a month that does not exist
            parts.month_word = nonsense_word();
            text = detail::write_in_words(parts, random);
            break;
        case 2:  // a day that does not exist
            parts.day = random.between(32, 99);
            text = detail::write(parts, random);
            break;
        case 3:  // two numbers, neither of which can be the month
            parts.day = random.between(13, 99);
            parts.month = random.between(13, 99);
            text = detail::write_in_numbers(parts, random);
            break;
        case 4:  // no day
            text = random.chance(50) ? parts.month_word + " " + std::to_string(parts.year)
                                     : std::to_string(parts.month) + "/" + std::to_string(parts.year);
            break;
        default:  // no year
            text = random.chance(50) ? std::to_string(parts.day) + " " + parts.month_word
                                     : parts.month_word + " " + detail::day_ordinal(parts.day);
            break;
    }
    return {detail::in_some_case(text, random), std::string(no_date)};
}

}  // namespace translate_dates
