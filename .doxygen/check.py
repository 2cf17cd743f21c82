#!/usr/bin/env python3
"""Fails where a public name of attend lacks the words that it must have: README.md beside it has the rules.

    check.py SOURCE_FOLDER WORK_FOLDER             the library's headers
    check.py SOURCE_FOLDER WORK_FOLDER --itself    faults.hpp, whose marked lines it must find, and no others

Exits with 77 where there is no Doxygen.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

sys.dont_write_bytecode = True
import prepare  # noqa: E402

# Whoever keeps a concept has members that the concept names; what they mean stands in this header's comments. By `kind`
# or by some members.
WORDS_OF_KIND = {"score": "core/concepts.hpp", "modifier": "core/concepts.hpp", "mask": "core/concepts.hpp",
                 "normalizer": "core/concepts.hpp", "engine": "engine/engine.hpp", "source": "source/source.hpp",
                 "attention": "mixer/mixer.hpp"}
WORDS_OF_MEMBERS = {("start", "take"): "core/insight.hpp", ("concurrency", "parallel_for"): "core/executor.hpp",
                    ("absorb", "read"): "mixer/mixer.hpp", ("mix_chunk", "state"): "mixer/mixer.hpp",
                    ("has_weights", "parameters"): "mixer/mixer.hpp", ("State", "take", "merge"): "core/concepts.hpp",
                    ("largest", "replace"): "core/concepts.hpp"}
EVERY_PART = "attend/core/concepts.hpp"  # its first lines: what every part may have

WORD = (r"(?<!\w)(?:operator\(\)|(?<=struct )\w+|(?<=using )\w+|[A-Za-z_]\w*(?=`| = |\(|<\w+>[(`]))")

# What means what it means in the language.
CONVENTIONAL = re.compile(r"operator(?:[-+*/%]=?|[<>=!]=|[<>]|!|\[\]|=|&&|\|\|| bool)$")
# A body that does nothing but refuse a call in words, when it is compiled.
ONLY_REFUSES = re.compile(
    r"\{\s*(?:constexpr [^;]*;\s*)*(?:(?:static_assert\(|(?:\w+::)?refuse_\w+<)[^;]*;\s*)+(?:return \{\};\s*)?\}$")
REFUSES = re.compile(r"(?<!\w)(?:require|refuse|fail|check\w*)\s*(?:<[\w:]+>)?\(")
SAYS_REFUSAL = re.compile(r"\b(?:throws?|refuse[sd]?)\b", re.I)
SHAPE = re.compile(r"×|\brows?\b|\bcolumns?\b|\bshape[sd]?\b|\bnumbers?\b")
COST = re.compile(r"O\(|\bcop(?:y|ies|ied)\b|\bborrow|\bviews?\b|\bin place\b", re.I)
MATRIX = re.compile(r"\b(?:Dense|DenseMemory|RealDense|WritableMemory|OperandLike)\b")
MATRIX_TYPE = re.compile(r"\b(?:Output|DenseBase|MatrixBase|RowMatrix|ColumnVector) ?<")
CITED = re.compile(r"[A-Z]\w+ et al\.(?! \(?\d{4})")

SETTINGS = """
INPUT = "@ATTEND_DOCS_FOLDER@/read/include"
USE_MDFILE_AS_MAINPAGE =
LAYOUT_FILE =
GENERATE_HTML = NO
GENERATE_XML = YES
EXTRACT_ALL = YES
HIDE_UNDOC_MEMBERS = NO
HIDE_UNDOC_CLASSES = NO
INLINE_INHERITED_MEMB = NO
"""


def text_of(element):
    parts = (element.find(name) for name in ("briefdescription", "detaileddescription", "inbodydescription"))
    return " ".join(" ".join(part.itertext()) for part in parts if part is not None).strip()


class Headers:
    """The headers' own lines."""

    def __init__(self, include):
        self.include, self.lines = include, {}

    def of(self, file, begin=1, end=None):
        if file not in self.lines:
            self.lines[file] = (self.include / file).read_text(encoding="utf-8").splitlines()
        return "\n".join(self.lines[file][begin - 1:end])

    def body(self, element):
        place = element.find("location")
        begin, end = int(place.get("bodystart") or 0), int(place.get("bodyend") or -1)
        text = self.of(place.get("file"), begin, end) if 0 < begin <= end else ""
        return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)

    def is_borrowed(self, element):
        """Whether a using-declaration brings a base's member, which has its words there."""
        place = element.find("location")
        before = self.of(place.get("file"), 1, int(place.get("line"))).split(";")
        statement = before[-2] if not before[-1].strip() else before[-1]
        return bool(re.match(r"using (?:typename )?[\w:]+(?:::\w+|::operator\(\))(?:,|$|;)", statement.strip()))

    def words(self, file, until="\0"):
        """Names of functions, types and constants that a header's comments write as code."""
        comments = re.findall(r"^ *///(.*)", self.of(file).split(until)[0], flags=re.M)
        code = re.findall(r"`[^`]*`", " ".join(comments)) + [line for line in comments if line.startswith("     ")]
        return set(re.findall(WORD, " ".join(code)))


class Check:
    def __init__(self, headers, library):
        self.headers, self.library = headers, library
        self.found = set()

    def complain(self, element, words):
        place = element.find("location")
        self.found.add((place.get("file"), int(place.get("line") or 1), words))

    def all_of(self, xml):
        for path in xml.glob("*.xml"):
            for compound in ElementTree.parse(path).getroot().findall("compounddef"):
                kind, name = compound.get("kind"), compound.findtext("compoundname")
                if kind in ("class", "struct", "union", "concept") and compound.get("prot") != "private":
                    if not text_of(compound):
                        self.complain(compound, f"{kind} {name} has no words")
                    self.members_of(compound, name)
                elif kind == "namespace" and name == "attend":
                    self.members_of(compound, name)

    def explained(self, members, compound):
        """The names of members that the concept which a class keeps explains."""
        kinds = ["".join(m.find("initializer").itertext()).split("::")[-1].strip(" =") for m in members
                 if m.findtext("name") == "kind" and m.find("initializer") is not None]
        names = {m.findtext("name") for m in members} | {c.text.split("::")[-1] for c in compound.findall("innerclass")}
        by_members = (header for some, header in WORDS_OF_MEMBERS.items() if names.issuperset(some))
        header = WORDS_OF_KIND.get(kinds[0]) if kinds else next(by_members, None)
        words = self.library.words(EVERY_PART, until="#include")
        return words | self.library.words("attend/" + header) if header else words

    def members_of(self, compound, scope):
        members = [m for m in compound.iter("memberdef") if m.get("prot") == "public"]
        of_class = compound.get("kind") != "namespace"
        explained = self.explained(members, compound) if of_class else set()
        for member in members:
            self.member(member, scope, text_of(compound) if of_class else "", explained)

    def member(self, member, scope, about, explained):
        name, kind, text = member.findtext("name"), member.get("kind"), text_of(member)
        arguments, own = member.findtext("argsstring") or "", scope.split("::")[-1]
        what = f"{kind} {scope}::{name}{arguments}"
        if kind == "friend" and "(" not in arguments or self.headers.is_borrowed(member):
            return
        if arguments.endswith(("=default", "=delete")) or name.startswith("~"):
            return
        if name == own and re.match(rf"\((?:const {own} &|{own} &&)\w*\)", arguments):  # a copy or a move
            return
        body = self.headers.body(member)
        if not text:
            if name not in explained and not CONVENTIONAL.match(name) and not ONLY_REFUSES.search(body):
                self.complain(member, f"{what} has no words")
            return
        for value in member.findall("enumvalue"):
            if not text_of(value) and value.findtext("name") not in re.findall(r"\w+", text):
                self.complain(member, f"{value.findtext('name')} of {what} has no words")
        if kind != "function":
            return
        both = f"{text} {about}"
        if REFUSES.search(body) and not SAYS_REFUSAL.search(both):
            self.complain(member, f"{what} does not say what it throws")
        if takes_matrix(member) and not SHAPE.search(both):
            self.complain(member, f"{what} takes matrices and does not say their shapes")
        if takes_matrix(member) and not COST.search(both):
            self.complain(member, f"{what} takes matrices and does not say what it costs")

    def citations(self):
        for path in sorted(self.headers.include.rglob("*.hpp")):
            text = re.sub(r"\n *///?<?", lambda found: "\n", path.read_text(encoding="utf-8"))
            for found in CITED.finditer(text.replace("\n", " ")):
                line = text.count("\n", 0, found.start()) + 1
                self.found.add((str(path.relative_to(self.headers.include)), line, f"'{found[0]}' lacks its year"))

    def papers(self, readme):
        """A paper that the README's table of formulas names stands with its year in a header, too."""
        headers = " ".join(re.sub(r"\n *///?<?", "", path.read_text(encoding="utf-8"))
                           for path in self.headers.include.rglob("*.hpp"))
        formulas = False
        for number, row in enumerate(readme.read_text(encoding="utf-8").splitlines(), 1):
            formulas = row.startswith("|") and (formulas or "Formula" in row)
            for name, year in re.findall(r"\b([A-Z][\w-]+)(?: et al\.)? ((?:19|20)\d\d)\b", row) if formulas else []:
                if not re.search(rf"\b{name}\b[^;()]{{0,60}}\b{year}\b", headers):
                    self.found.add((readme.name, number, f"no header says {name} {year}"))


def takes_matrix(member):
    """Whether a function's parameters are matrices: of a template's dense type, one of Eigen's, or an output."""
    dense = {p.findtext("declname") or "".join(p.find("type").itertext()).split()[-1]
             for p in member.findall("templateparamlist/param") if MATRIX.search("".join(p.find("type").itertext()))}
    types = " ".join("".join(p.find("type").itertext()) for p in member.findall("param"))
    return bool(MATRIX_TYPE.search(types) or any(re.search(rf"\b{name}\b", types) for name in dense))


def main():
    root, work, itself = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), "--itself" in sys.argv
    if shutil.which("doxygen") is None:
        print("docs: there is no doxygen here (apt-get install doxygen): the reference is not checked")
        return 77
    shutil.rmtree(work, ignore_errors=True)
    include = root / "include"
    if itself:
        include = work / "faults"
        (include / "attend").mkdir(parents=True)
        shutil.copy(root / ".doxygen" / "faults.hpp", include / "attend" / "faults.hpp")
    prepare.write_headers(include, work / "read" / "include")
    settings = (root / ".doxygen" / "Doxyfile.in").read_text(encoding="utf-8") + SETTINGS
    settings = settings.replace("@ATTEND_DOCS_FOLDER@", str(work)).replace("@PROJECT_SOURCE_DIR@", str(root))
    done = subprocess.run(["doxygen", "-"], input=settings, text=True, capture_output=True, encoding="utf-8")
    print(done.stderr, end="")
    if done.returncode != 0 or str(work / "read") in done.stderr:  # what it says of settings depends on its version
        return 1
    check = Check(Headers(include), Headers(root / "include"))
    check.all_of(work / "xml")
    check.citations()
    if not itself:
        check.papers(root / "README.md")
    for file, line, words in sorted(check.found):
        print(f"{file}:{line}: {words}")
    if not itself:
        print(f"{len(check.found)} names without what they must say")
        return 1 if check.found else 0
    lines = (include / "attend" / "faults.hpp").read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "// FAULT" in line}
    print("marked:", sorted(marked), "found:", sorted({line for _, line, _ in check.found}))
    return 0 if marked and marked == {line for _, line, _ in check.found} else 1


if __name__ == "__main__":
    sys.exit(main())
