#pragma once

#include "heat_map.hpp"
#include "terminal.hpp"

/// Sentences whose words are coloured by their weights, in a terminal and as an SVG picture.
namespace support {

struct Sentence {
    std::string label{};
    std::vector<std::string> words{};
    std::vector<double> weights{};  ///< of each word, from 0 to 1
    struct Arc {
        std::size_t from, to;
        double weight;
    };
    std::vector<Arc> arcs{};  ///< drawn above the words of a picture, as broad as their weight
};

/// Each word on a background as dark as its weight; without colours, with a star for each fifth of the weight.
inline void print_sentence(std::ostream& out, const Sentence& sentence, bool colours, int label_width) {
    constexpr std::array<std::string_view, 6> shades{"0",          "48;5;153;30", "48;5;110;30",
                                                     "48;5;67;97", "48;5;25;97",  "48;5;17;97"};
    out << std::left << std::setw(label_width) << sentence.label << std::right;
    for (std::size_t i = 0; i < sentence.words.size(); ++i) {
        const auto fifths = static_cast<std::size_t>(std::lround(5 * std::clamp(sentence.weights[i], 0.0, 1.0)));
        if (colours)
            out << "\x1b[" << shades[fifths] << 'm' << sentence.words[i] << "\x1b[0m ";
        else
            out << sentence.words[i] << std::string(fifths, '*') << ' ';
    }
    out << '\n';
}

inline void draw_sentences(std::ostream& out, std::string_view title, const std::vector<Sentence>& sentences) {
    constexpr double letter = 9.04, left = 150, line = 62, margin = 24;  // of the monospaced letters, at 15 pixels
    double right = left + letter * static_cast<double>(title.size());
    for (const Sentence& sentence : sentences) {
        std::size_t letters = 0;
        for (const std::string& word : sentence.words) letters += word.size() + 1;
        right = std::max(right, left + letter * static_cast<double>(letters));
    }
    svg::open(out, static_cast<int>(right + margin), 74 + static_cast<int>(line) * static_cast<int>(sentences.size()),
              title,
              ".word{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:15px}"
              ".arc{fill:none;stroke:#d97706}");
    out << "<text class='title' x='" << margin << "' y='34'>" << svg::escaped(title) << "</text>\n";
    double y = 100;
    for (const Sentence& sentence : sentences) {
        out << "<text class='heading' x='" << margin << "' y='" << y << "'>" << svg::escaped(sentence.label)
            << "</text>\n";
        std::vector<double> centres;
        double x = left;
        for (std::size_t i = 0; i < sentence.words.size(); ++i) {
            const double width = letter * static_cast<double>(sentence.words[i].size());
            out << "<rect x='" << x - 3 << "' y='" << y - 16 << "' width='" << width + 6
                << "' height='22' rx='3' fill='" << svg::hex(detail::colour_of(sentence.weights[i]))
                << "'/><text class='word' x='" << x << "' y='" << y << "'"
                << (sentence.weights[i] > 0.5 ? " style='fill:#fff'>" : ">") << svg::escaped(sentence.words[i])
                << "</text>\n";
            centres.push_back(x + width / 2);
            x += width + letter;
        }
        for (const Sentence::Arc& arc : sentence.arcs)
            out << "<path class='arc' style='stroke-width:" << 4 * arc.weight << "' d='M" << centres[arc.from] << " "
                << y - 17 << "Q" << (centres[arc.from] + centres[arc.to]) / 2 << " " << y - 46 << " " << centres[arc.to]
                << " " << y - 17 << "'/>\n";
        y += line;
    }
    svg::close(out);
}

}  // namespace support
