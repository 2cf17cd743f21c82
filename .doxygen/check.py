#!/usr/bin/env python3
"""Fails where a public name of attend lacks the words that it must have. See README.md beside it for the rules.

    check.py SOURCE_FOLDER WORK_FOLDER        needs Doxygen, and exits with 77 where there is none
"""
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

# Whoever keeps a concept has members that the concept names; what they mean stands in this header's comments.
WORDS_OF_KIND = {"score": "core/concepts.hpp", "modifier": "core/concepts.hpp", "mask": "core/concepts.hpp",
                 "normalizer": "core/concepts.hpp", "engine": "engine/engine.hpp", "source": "source/source.hpp",
                 "attention": "mixer/mixer.hpp"}
WORDS_OF_MEMBERS = {("start", "take"): "core/insight.hpp", ("concurrency", "parallel_for"): "core/executor.hpp",
                    ("absorb", "read"): "mixer/mixer.hpp", ("mix_chunk", "state"): "mixer/mixer.hpp",
                    ("has_weights", "parameters"): "mixer/mixer.hpp", ("State", "take", "merge"): "core/concepts.hpp",
                    ("largest", "replace"): "core/concepts.hpp"}
ANY_PART = {"kind", "check", "parameters"}  # core/concepts.hpp: what every part may have
CHECK_SETTINGS = """
INPUT = "@ATTEND_DOCS_FOLDER@/read/include/attend"
USE_MDFILE_AS_MAINPAGE =
GENERATE_HTML = NO
GENERATE_XML = YES
EXTRACT_ALL = YES
HIDE_UNDOC_MEMBERS = NO
HIDE_UNDOC_CLASSES = NO
INLINE_INHERITED_MEMB = NO
"""
CONVENTIONAL = re.compile(r"operator(?:[-+*/%]=?|[<>=!]=|[<>]|!|\[\]|=|&&|\|\|| bool)$")
ONLY_REFUSES = re.compile(
    r"\{\s*(?:constexpr [^;]*;\s*)*(?:(?:static_assert\(|refuse_\w+<)[^;]*;\s*)+(?:return \{\};\s*)?\}$")
REFUSES = re.compile(r"(?<!\w)(?:require|refuse|fail|check\w*)\s*(?:<[\w:]+>)?\(")
SAYS_REFUSAL = re.compile(r"\b(?:throws?|refuse[sd]?)\b", re.I)
SHAPE = re.compile(r"×|\brows?\b|\bcolumns?\b|\bshape[sd]?\b|\bnumbers?\b")
COST = re.compile(r"O\(|\bcop(?:y|ies|ied)\b|\bborrow|\bviews?\b|\bin place\b", re.I)


def text_of(element):
    parts = [element.find("briefdescription"), element.find("detaileddescription"), element.find("inbodydescription")]
    return " ".join(" ".join(part.itertext()) for part in parts if part is not None).strip()


class Source:
    """The headers' own lines."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = {}

    def of(self, file, begin, end):
        if file not in self.lines:
            self.lines[file] = (self.folder / file).read_text(encoding="utf-8").splitlines()
        return "\n".join(self.lines[file][begin - 1:end])

    def words(self, file):
        """Names that the comments of a header write as code."""
        comments = re.findall(r"^ *///(.*)", self.of(file, 1, 100000), flags=re.M)
        code = re.findall(r"`[^`]*`", " ".join(comments)) + [line for line in comments if line.startswith("     ")]
        return set(re.findall(r"operator\(\)|[A-Za-z_]\w*", " ".join(code)))

    def is_borrowed(self, element):
        """Whether a using-declaration brings a base's member, which has its words there."""
        place = element.find("location")
        before = self.of(place.get("file"), 1, int(place.get("line")))
        return bool(re.match(r"using (?:typename )?[\w:]+(?:::\w+|::operator\(\))(?:,|$|;)", before.split(";")[-2 if before.endswith(";") else -1].strip()))

    def body(self, element):
        place = element.find("location")
        begin, end = int(place.get("bodystart") or 0), int(place.get("bodyend") or -1)
        return self.of(place.get("file"), begin, end) if 0 < begin <= end else ""


def concept_header(members, nested):
    kinds = ["".join(m.find("initializer").itertext()) for m in members
             if m.findtext("name") == "kind" and m.find("initializer") is not None]
    if kinds:
        return WORDS_OF_KIND.get(kinds[0].split("::")[-1].strip(" ="))
    names = {m.findtext("name") for m in members} | nested
    return next((header for some, header in WORDS_OF_MEMBERS.items() if names.issuperset(some)), None)


def nested_in(compound):
    return {inner.text.split("::")[-1] for inner in compound.findall("innerclass")}


def takes_matrix(member):
    """Whether a function's parameters are matrices: of a template's Dense type, or an output."""
    dense = {p.findtext("declname") or (p.findtext("type") or "").split()[-1]
             for p in member.findall("templateparamlist/param")
             if re.search(r"\b(?:Dense|DenseMemory|RealDense|WritableMemory|OperandLike)\b", "".join(p.find("type").itertext()))}
    types = " ".join("".join(p.find("type").itertext()) for p in member.findall("param"))
    return bool(re.search(r"\bOutput<", types) or any(re.search(rf"\b{name}\b", types) for name in dense))


def complaints(xml, source):
    for path in sorted(xml.glob("*.xml")):
        for compound in ElementTree.parse(path).getroot().findall("compounddef"):
            kind, name = compound.get("kind"), compound.findtext("compoundname")
            if kind not in ("class", "struct", "union", "concept", "namespace") or compound.get("prot") == "private":
                continue
            if "detail" in re.split(r"::|<", name) or (kind == "namespace" and name != "attend"):
                continue
            place, about = compound.find("location"), ""
            if kind != "namespace":
                about = text_of(compound)
                if not about:
                    yield place.get("file"), place.get("line"), f"{kind} {name} has no words"
            members = [m for m in compound.iter("memberdef") if m.get("prot") == "public"]
            explained = concept_header(members, nested_in(compound)) if kind != "namespace" else None
            words = ANY_PART | (source.words("attend/" + explained) if explained else set())
            yield from member_complaints(members, name, about, words, source)


def member_complaints(members, scope, about, words, source):
    for member in members:
        name, place = member.findtext("name"), member.find("location")
        kind, text = member.get("kind"), text_of(member)
        what = f"{kind} {scope}::{name}{member.findtext('argsstring') or ''}"
        if kind == "friend" and name.split()[0] in ("struct", "class") or kind == "friend" and "::" in name:
            continue
        arguments, own = member.findtext("argsstring") or "", scope.split("::")[-1]
        if arguments.endswith(("=default", "=delete")) or name.startswith("~"):
            continue
        if re.match(rf"\((?:const {own} &|{own} &&)\w*\)", arguments) and name == own:
            continue
        if source.is_borrowed(member):
            continue
        body = source.body(member)
        if not text and name not in words:
            if CONVENTIONAL.match(name) or ONLY_REFUSES.search(body):
                continue
            yield place.get("file"), place.get("line"), f"{what} has no words"
            continue
        if kind == "enum":
            for value in member.findall("enumvalue"):
                if not text_of(value) and value.findtext("name") not in re.findall(r"\w+", text):
                    yield place.get("file"), place.get("line"), f"{value.findtext('name')} of {what} has no words"
        if kind != "function" or name in words:
            continue
        both = f"{text} {about}"
        if REFUSES.search(body) and not SAYS_REFUSAL.search(both):
            yield place.get("file"), place.get("line"), f"{what} does not say what it throws"
        if takes_matrix(member):
            if not SHAPE.search(both):
                yield place.get("file"), place.get("line"), f"{what} takes matrices and does not say their shapes"
            if not COST.search(both):
                yield place.get("file"), place.get("line"), f"{what} takes matrices and does not say what it costs"


def uncited(source, folder):
    """A paper is named with its year."""
    for path in sorted(folder.rglob("*.hpp")):
        text = re.sub(r"\n *///?", "", path.read_text(encoding="utf-8"))
        for found in re.finditer(r"[A-Z]\w+ et al\.(?!,? (?:\(?\d{4}))", text):
            yield str(path.relative_to(source.folder)), "1", f"'{found[0]}' lacks its year"


def main():
    root, work = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if shutil.which("doxygen") is None:
        print("docs: there is no doxygen here (apt-get install doxygen): the reference is not checked")
        return 77
    shutil.rmtree(work, ignore_errors=True)
    subprocess.run([sys.executable, root / ".doxygen" / "prepare.py", root, work / "read"], check=True)
    settings = (root / ".doxygen" / "Doxyfile.in").read_text(encoding="utf-8") + CHECK_SETTINGS
    settings = settings.replace("@ATTEND_DOCS_FOLDER@", str(work)).replace("@PROJECT_SOURCE_DIR@", str(root))
    done = subprocess.run(["doxygen", "-"], input=settings, text=True, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        print(done.stderr)
        return 1
    source = Source(root / "include")
    found = sorted(set(complaints(work / "xml", source)) | set(uncited(source, root / "include/attend")),
                   key=lambda c: (c[0], int(c[1] or 0)))
    for file, line, words in found:
        print(f"include/{file}:{line}: {words}")
    counts = collections.Counter(file for file, _, _ in found)
    print(f"{len(found)} names without what they must say, in {len(counts)} headers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
