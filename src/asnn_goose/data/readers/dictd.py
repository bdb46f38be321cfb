"""Dictionaries in the format of dictd: an index of headwords into one (gzipped) text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from asnn_goose.data.document import DataError, Document
from asnn_goose.data.readers.files import bytes_of, text_of
from asnn_goose.data.readers.prose import document, is_prose, paragraphs

PREFIX_LETTERS = 3
"""Short entries are bundled by the beginnings of their headwords, so that one word's entries and
those of its relatives share a split."""

BUNDLE_CHARACTERS = 6_000
"""A bundle is closed once it has this many."""

ENTRY_WORDS = 5
"""Paragraphs of an entry with fewer words are its grammar, its date or a list of synonyms."""

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_FOLDOC_SUBJECT = re.compile(r"<[a-z][^<>]{2,60}>\s*")
_FOLDOC_DATE = re.compile(r"\(\d{4}(-\d\d){0,2}\)")
_ADDRESS = re.compile(r"\[?\{?\(?(?:https?|ftp|news|mailto|gopher):[^\s{}]*\)?\}?\]?\.?")
_JARGON = "Jargon File"
_BRACKETED = re.compile(r"\[[^\[\]]*\]")
_PRONOUNCED = re.compile(r"\s*\\[^\\\n]*\\\s*(?:\([^()\n]*\))?,?")


def read_foldoc(file: Path) -> Iterator[Document]:
    """One document per entry; what it took from the Jargon File is left out, and so are links."""
    for headword, text in entries(file):
        if _JARGON not in text:
            bare = _ADDRESS.sub("", _FOLDOC_DATE.sub("", _FOLDOC_SUBJECT.sub("", text)))
            yield from _entry(headword, bare)


def read_jargon(file: Path) -> Iterator[Document]:
    """One document per entry of the Jargon File."""
    for headword, text in entries(file):
        yield from _entry(headword, text)


def read_gcide(file: Path) -> Iterator[Document]:
    """Entries in bundles, without pronunciations, etymologies and marks of origin."""
    kept = ((headword, _gcide_entry(text)) for headword, text in entries(file))
    for prefix, bundle in groupby(kept, key=lambda entry: _prefix(entry[0])):
        for number, texts in enumerate(_bundles(text for _, text in bundle)):
            yield from document(f"{prefix}:{number}", prefix, texts)


def entries(file: Path) -> Iterator[tuple[str, str]]:
    """(headword, text) in the order of the text, whose index lies beside it.

    Headwords that begin with 00 tell of the dictionary itself and are left out. Raises DataError
    where index and text do not fit.
    """
    content = bytes_of(file)
    index = file.with_name(file.name.split(".")[0] + ".index")
    spans: dict[tuple[int, int], str] = {}
    for line in text_of(index).splitlines():
        headword, *span = line.rsplit("\t", 2)
        # Several headwords lead to one entry; the first one names it.
        spans.setdefault((_number(span[0]), _number(span[1])), headword)
    for (start, length), headword in sorted(spans.items()):
        if start + length > len(content):
            raise DataError(f"{index}: {headword!r} lies beyond the end of {file.name}")
        if not headword.startswith("00"):
            yield headword, content[start : start + length].decode("utf-8", "replace")


def _entry(headword: str, text: str) -> Iterator[Document]:
    title, *rest = _unlinked(text).strip().split("\n", 1)
    kept = [part for part in paragraphs("\n".join(rest)) if is_prose(part, words=ENTRY_WORDS)]
    yield from document(title.strip(), headword.lower(), [title.strip(), *kept])


def _gcide_entry(text: str) -> str:
    bare = _unlinked(_PRONOUNCED.sub(",", text))
    # From the inside out: brackets stand within brackets.
    while (inner := _BRACKETED.sub("", bare)) != bare:
        bare = inner
    return "\n\n".join(
        " ".join(part.split()) for part in re.split(r"\n\s*\n", bare) if part.strip()
    )


def _unlinked(text: str) -> str:
    return text.replace("{", "").replace("}", "")


def _prefix(headword: str) -> str:
    return re.sub(r"\W", "", headword.lower())[:PREFIX_LETTERS] or headword


def _bundles(texts: Iterator[str]) -> Iterator[list[str]]:
    bundle: list[str] = []
    for text in texts:
        bundle.append(text)
        if sum(map(len, bundle)) >= BUNDLE_CHARACTERS:
            yield bundle
            bundle = []
    yield bundle


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = 64 * value + _DIGITS.index(digit)
    return value
