"""Manual pages (troff with the man macros) and Perl's plain old documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, text_of
from asnn_goose.data.readers.prose import document, is_prose, paragraphs

_ESCAPE = re.compile(
    r"\\(?:f(?:\[\w*\]|\(..|.)|s[-+]?\d|[&|^/,:%]|m\[\w*\]|v'[^']*'|h'[^']*'|n\(..)"
)
_CHARACTERS = {
    "\\-": "-", "\\e": "\\", "\\ ": " ", "\\~": " ", "\\(bu": "", "\\(aq": "'", "\\(dq": '"',
    "\\(lq": "\u201c", "\\(rq": "\u201d", "\\*(lq": "\u201c", "\\*(rq": "\u201d",
    "\\(oq": "\u2018", "\\(cq": "\u2019", "\\(em": " - ", "\\(en": "-", "\\(ha": "^",
    "\\(ti": "~", "\\(co": "\u00a9", "\\(mu": "x", "\\(+-": "+/-", "\\(<=": "<=", "\\(>=": ">=",
    "\\(ga": "`", "\\(->": "->",
}  # fmt: skip
_FONTS = frozenset((".B", ".I", ".R", ".BR", ".RB", ".BI", ".IB", ".IR", ".RI", ".SM", ".SB"))
_BREAKS = frozenset(
    (".PP", ".P", ".LP", ".TP", ".IP", ".HP", ".TQ", ".RS", ".RE", ".sp", ".SS", ".SH", ".br")
)
_UNREAD = {".nf": ".fi", ".EX": ".EE", ".TS": ".TE", ".EQ": ".EN", ".de": "..", ".ig": ".."}
_PART = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_POD_CODE = re.compile(r"[A-Z](?:<<+ (.*?) >>+|<([^<>]*)>)", re.S)
_POD_ESCAPES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/"}


def read_manual_pages(folder: Path) -> Iterator[Document]:
    """One document per page man*/*: its prose and the headings above it; pages are groups."""
    for file in files_of(folder, "man*/*"):
        # Other names of one page.
        if file.is_symlink():
            continue
        name = file.name.removesuffix(".gz")
        parts = troff_paragraphs(text_of(file))
        yield from document(name, name, [name.rsplit(".", 1)[0], *filter(is_prose, parts)])


def read_pod(folder: Path, *, pattern: str) -> Iterator[Document]:
    """One document per .pod file: its prose and the headings above it; files are groups."""
    for file in files_of(folder, pattern):
        name = str(file.relative_to(folder))
        yield from document(name, name, pod_paragraphs(text_of(file)))


def troff_paragraphs(source: str) -> list[str]:
    """Paragraphs of a page; displays, tables and equations are left out."""
    lines: list[str] = []
    until = ""
    for line in source.splitlines():
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if until:
            until = "" if word == until else until
        elif word in _UNREAD:
            until = _UNREAD[word]
        elif word in _FONTS:
            # Fonts alternate over the words of .BR and its like, which are set without blanks.
            glue = " " if len(word) == 2 or word in {".SM", ".SB"} else ""
            lines.append(glue.join(quoted or bare for quoted, bare in _parts(line[len(word) :])))
        elif not word or word in _BREAKS:
            lines.append("")
        # Whatever else begins so is a request to the typesetter, and no text.
        elif not line.startswith((".", "'")):
            lines.append(line)
    return paragraphs(_unescaped("\n".join(lines)))


def pod_paragraphs(source: str) -> Iterator[str]:
    """Prose of a pod text, without what is indented, which is code."""
    heading, in_pod = "", False
    for block in re.split(r"\n[^\S\n]*\n", source):
        text = block.strip("\n")
        if text.startswith("="):
            command, _, rest = text.partition(" ")
            in_pod = command not in {"=cut", "=begin", "=for", "=encoding"}
            heading = _uncoded(" ".join(rest.split())) if command.startswith("=head") else heading
        elif in_pod and not text.startswith((" ", "\t")):
            paragraph = _uncoded(" ".join(text.split()))
            if is_prose(paragraph):
                if heading:
                    yield heading
                yield paragraph
                heading = ""


def _parts(text: str) -> list[tuple[str, str]]:
    return _PART.findall(text)


def _unescaped(text: str) -> str:
    text = re.sub(r"\\\[(\w\w)\]", r"\\(\1", text)
    for escape, character in _CHARACTERS.items():
        text = text.replace(escape, character)
    return re.sub(r"\\[\"#].*", "", _ESCAPE.sub("", text))


def _uncoded(text: str) -> str:
    """Formatting codes undone from the inside out: C<x> is x, L<text|place> is text."""

    def inner(code: re.Match[str]) -> str:
        content = code[1] or code[2] or ""
        if code[0][0] == "E":
            return _POD_ESCAPES.get(content, "")
        if code[0][0] in "XZ":
            return ""
        return content.split("|")[0] if code[0][0] == "L" else content

    while (changed := _POD_CODE.sub(inner, text)) != text:
        text = changed
    return text
