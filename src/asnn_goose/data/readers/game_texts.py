"""Strings that games show to their players, out of the files they keep them in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, json_of, text_of
from asnn_goose.data.readers.prose import document, is_prose, paragraphs

STRING_WORDS = 6
"""Shorter strings are names and labels."""

SKIPPED_KEYS = frozenset({"//", "//2", "//~", "id", "type", "copy-from", "rows", "palettes"})
_PLACEHOLDER = re.compile(r"<[^<>\s]+>|[{}@$%|\\]|\[\w+\]")
_COLOUR = re.compile(r"</?(?:color|good|bad|info|neutral|b|i|big|small|ref|bold|italic)[^<>]*>")
_ENTRY = re.compile(r"^%%%%.*$", re.MULTILINE)
_COMMENT = re.compile(r"^#.*$", re.MULTILINE)
_WEIGHT = re.compile(r"^w:\d+\s*$", re.MULTILINE)
CRAWL_BUNDLE = 20
"""Entries of a Crawl file that make one document."""


def read_json_strings(folder: Path, *, pattern: str) -> Iterator[Document]:
    """One document per JSON file: every string in it that is running text; groups are files."""
    for file in files_of(folder, pattern):
        yield from _shown(file, folder, _strings(json_of(file)))


def read_marked_strings(folder: Path, *, pattern: str, mark: str) -> Iterator[Document]:
    """One document per file: what the regular expression `mark` catches in its first group."""
    for file in files_of(folder, pattern):
        found = (hit[1].replace('""', '"') for hit in re.finditer(mark, text_of(file)))
        yield from _shown(file, folder, found)


def read_crawl(folder: Path, *, patterns: tuple[str, ...]) -> Iterator[Document]:
    """Bundles of entries, set apart by lines of %%%%, of each file; a bundle is a group."""
    for pattern in patterns:
        for file in files_of(folder, pattern):
            entries = _ENTRY.split(_COMMENT.sub("", _WEIGHT.sub("", text_of(file))))
            for first in range(0, len(entries), CRAWL_BUNDLE):
                place = f"{file.stem}/{first // CRAWL_BUNDLE}"
                bundle = "\n\n".join(map(str.strip, entries[first : first + CRAWL_BUNDLE]))
                yield from document(place, place, filter(_kept, paragraphs(bundle)))


def _shown(file: Path, folder: Path, strings: Iterator[str]) -> Iterator[Document]:
    name = str(file.relative_to(folder))
    parts = (part for string in strings for part in paragraphs(_COLOUR.sub("", string)))
    # A dict drops what comes twice and keeps the order: games show one string in many places.
    yield from document(name, name, dict.fromkeys(filter(_kept, parts)))


def _kept(paragraph: str) -> bool:
    return is_prose(paragraph, words=STRING_WORDS) and not _PLACEHOLDER.search(paragraph)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in SKIPPED_KEYS:
                yield from _strings(inner)
