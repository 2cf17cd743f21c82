#!/usr/bin/env python3
"""Writes what Doxygen reads: the headers, line by line as they are but for what only the compiler needs.

    prepare.py SOURCE_FOLDER TARGET_FOLDER

The inline namespace that marks a build is left out; protected members count as private, since they are between the
library's own classes; each floor, a folder of include/attend, becomes a topic, which topics.md names. In the README,
links to files that are no pages become plain text. Fields that share a line share its words.
"""
import pathlib
import re
import sys


DECLARED_TOGETHER = re.compile(
    r"^(?P<indent> +)(?P<type>(?:const )?[A-Za-z][\w:<>]*[*&]?) (?P<names>\w+(?: = [\w.]+)?(?:, \w+(?: = [\w.]+)?)+);"
    r" *///< (?P<words>.*(?:\n +///< .*)*)$", flags=re.M)


def each_with_the_words(declaration):
    words = re.sub(r"\s*\n\s*///<\s*", " ", declaration["words"])
    each = (f"{declaration['type']} {name} /**< {words} */;" for name in declaration["names"].split(", "))
    return declaration["indent"] + " ".join(each) + "\n" * declaration["words"].count("\n")


def header(text, floor):
    text = re.sub(r"attend::inline ATTEND_ABI\b", "attend", text)
    text = re.sub(r"\[\[\w+\]\] ?", "", text)
    text = re.sub(r"^protected:", "private:", text, flags=re.M)
    text = DECLARED_TOGETHER.sub(each_with_the_words, text)
    begin = rf"namespace attend {{ /** \\addtogroup {floor} */ /** @{{ */"
    text, topics = re.subn(r"^namespace attend \{", begin, text, flags=re.M)
    return re.sub(r"^\}  // namespace attend$", "/** @} */ }", text, flags=re.M) if topics else text


def page(text):
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)


def main():
    root, to = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for path in sorted((root / "include" / "attend").rglob("*.hpp")):
        inside = path.relative_to(root)
        floor = path.parent.name if path.parent.name != "attend" else "attention"
        target = to / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(header(path.read_text(encoding="utf-8"), floor), encoding="utf-8")
    (to / "README.md").write_text(page((root / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    house = (root / "include" / "attend" / "README.md").read_text(encoding="utf-8")
    (to / "house.md").write_text(page(house), encoding="utf-8")


if __name__ == "__main__":
    main()
