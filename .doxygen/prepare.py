#!/usr/bin/env python3
"""Writes what Doxygen reads: the headers, line by line as they are but for what only the compiler needs.

    prepare.py SOURCE_FOLDER TARGET_FOLDER

What stands in `detail` is left out, and so is the inline namespace that marks a build; protected members count as
private, since they are between the library's own classes; each floor, a folder of include/attend, becomes a topic of
topics.dox. Fields that share a line share its words, and so do declarations between `/// @{` and `/// @}`. The
READMEs are pages; links from them to files that are none become plain text. The kind of a part leads to its concept.
"""
import pathlib
import posixpath
import re
import sys

PUBLIC = re.compile(r"^namespace attend(?:::inline ATTEND_ABI)? \{$", flags=re.M)
DETAIL = re.compile(r"namespace (?:attend::inline ATTEND_ABI::)?detail(?:::\w+)* \{$")
PAGES = {"README.md": "README.md", "examples/README.md": "examples.md", "include/attend/README.md": "house.md",
         "tests/README.md": "tests.md", "bench/README.md": "bench.md", ".doxygen/README.md": "reference.md"}
CONCEPTS = {"mask": "Mask", "modifier": "Modifier", "score": "Score", "normalizer": "Normalizer", "engine": "EngineOf",
            "source": "KeySourceOf"}
FOR_USERS_TOO = ("attend.hpp", "config.hpp")
TOGETHER = re.compile(r"^ */// (?P<words>[^@\n][^\n]*(?:\n *///[^\n]*)*?)\n */// @\{\n"
                      r"(?P<declarations>.*?)^ */// @\}$", flags=re.M | re.S)
ON_A_LINE = re.compile(
    r"^(?P<indent> +)(?P<type>(?:static |const |constexpr )*[A-Za-z][\w:<>]*[*&]?) "
    r"(?P<names>\w+(?: = [\w.]+)?(?:, \w+(?: = [\w.]+)?)+); *///< (?P<words>.*(?:\n +///< .*)*)$", flags=re.M)


def lines_of(text):
    return "\n" * text.count("\n")


def without_detail(text):
    """Empty lines in place of each `namespace detail { … }`."""
    lines, depth = [], None
    for line in text.split("\n"):
        code = re.sub(r"//.*|'.'|\"(?:[^\"\\]|\\.)*\"", "", line)
        if depth is None and DETAIL.match(line):
            depth = 0
        if depth is None:
            lines.append(line)
            continue
        lines.append("")
        depth += code.count("{") - code.count("}")
        if depth == 0:
            depth = None
    return "\n".join(lines)


def joined(words):
    return re.sub(r"\s*\n\s*///<?\s*", " ", words)


def each_on_a_line(found):
    each = (f"{found['type']} {name} /**< {joined(found['words'])} */;" for name in found["names"].split(", "))
    return found["indent"] + " ".join(each) + lines_of(found["words"])


def each_together(found):
    """The words before each declaration; one ends with a line that closes all braces, by `;` or `}`."""
    lines, depth, begins = [], 0, True
    for line in found["declarations"].splitlines():
        code = re.sub(r"//.*", "", line).rstrip()
        if begins and code and not code.lstrip().startswith("#"):
            line, begins = f"/** {joined(found['words'])} */ {line}", False
        depth += sum(code.count(c) for c in "{(") - sum(code.count(c) for c in "})")
        begins = begins or (depth == 0 and code.endswith((";", "}")))
        lines.append(line)
    return lines_of(found["words"] + "\n\n") + "\n".join(lines) + "\n"


def with_concept(found):
    """On the page of a part its kind leads to what the page leaves out."""
    concept = CONCEPTS.get(found[1])
    words = f" /**< what \\ref attend::{concept} \"{concept}\" asks of it is not listed here */" if concept else ""
    return found[0] + words


def header(text, floor):
    text = without_detail(text).replace("attend::inline ATTEND_ABI", "attend").replace("detail::", "")
    text = re.sub(r"\[\[\w+\]\] ?", "", text)
    text = text.replace("et al. ", "et al.\u00a0")  # ends no sentence
    text = re.sub(r"^protected:", "private:", text, flags=re.M)
    text = re.sub(r"static constexpr Kind kind = Kind::(\w+);", with_concept, text)
    text = TOGETHER.sub(each_together, text)
    text = ON_A_LINE.sub(each_on_a_line, text)
    text = text.replace("\nnamespace attend {", f"\nnamespace attend {{ /** \\addtogroup {floor} */ /** @{{ */")
    return re.sub(r"^\}  // namespace attend$", "/** @} */ }", text, flags=re.M)


def page(text, folder):
    """A page's text, whose links lead to other pages, or nowhere; `folder` is where it stands."""
    def link(found):
        target = posixpath.normpath(posixpath.join(folder, found[2].split("#")[0]))
        return f"[{found[1]}]({PAGES[target]})" if target in PAGES else found[1]

    parts = re.split(r"(^```.*?^```$|`[^`\n]*`)", text, flags=re.M | re.S)  # words, code, words, …
    for i in range(0, len(parts), 2):
        words = re.sub(r'<img [^>]*?src="([^"]+)"[^>]*>', r"![](\1)", parts[i])
        words = re.sub(r"\[(!\[[^\]]*\]\([^)]*\))\]\([^)]*\)", r"\1", words)
        parts[i] = re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)]*)\)", link, words)
    return "".join(parts)


def write_headers(include, to):
    for path in sorted((include / "attend").rglob("*.hpp")):
        text = path.read_text(encoding="utf-8")
        if not PUBLIC.search(text) and path.name not in FOR_USERS_TOO:
            continue
        target = to / path.relative_to(include)
        target.parent.mkdir(parents=True, exist_ok=True)
        floor = path.parent.name if path.parent.name != "attend" else "attention"
        target.write_text(header(text, floor), encoding="utf-8")


def main():
    root, to = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    write_headers(root / "include", to / "include")
    for source, name in PAGES.items():
        if (root / source).exists():
            text = (root / source).read_text(encoding="utf-8")
            (to / name).write_text(page(text, posixpath.dirname(source)), encoding="utf-8")


if __name__ == "__main__":
    main()
