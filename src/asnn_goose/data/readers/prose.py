"""What every reader does to a text: join wrapped lines, keep prose, drop what comes twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from asnn_goose.data.document import Document

WORDS = 8
"""A paragraph of running text has at least this many words."""

PLAIN_SHARE = 0.85
"""At least this share of a paragraph is letters, blanks and the marks of ordinary sentences."""

LEAST_CHARACTERS = 200
"""A document has at least this many, headings included."""

REPEATED_CHARACTERS = 60
"""Shorter paragraphs may come twice: greetings, headings, refrains."""

PART_CHARACTERS = 20_000
"""Longer documents are cut at ends of paragraphs; their parts share a group."""

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_NOT_PLAIN = re.compile(r"[^\w\s.,;:!?'\"\u2018\u2019\u201c\u201d()-]|_|\d")
_LETTER = re.compile(r"[a-z]")


def paragraphs(text: str) -> list[str]:
    """Paragraphs between blank lines, each on one line."""
    return [" ".join(part.split()) for part in _BLANK_LINES.split(text) if part.strip()]


def is_prose(paragraph: str, *, words: int = WORDS) -> bool:
    """Whether a paragraph is running text: enough words, few figures and signs, lower case."""
    if len(paragraph.split()) < words or not _LETTER.search(paragraph):
        return False
    return len(_NOT_PLAIN.findall(paragraph)) <= (1 - PLAIN_SHARE) * len(paragraph)


def document(id_: str, group: str, parts: Iterable[str]) -> Iterator[Document]:
    """One document of these paragraphs, or none where they are too short."""
    text = "\n\n".join(part for part in parts if part)
    if len(text) >= LEAST_CHARACTERS:
        yield Document(id=id_, group=group, text=text)


def unrepeated(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents without the longer paragraphs that an earlier one, or they themselves, had."""
    seen: set[str] = set()
    for found in documents:
        kept = []
        for paragraph in found.text.split("\n\n"):
            if len(paragraph) < REPEATED_CHARACTERS or paragraph not in seen:
                kept.append(paragraph)
                seen.add(paragraph)
        text = "\n\n".join(kept)
        if text == found.text:
            yield found
        elif len(text) >= LEAST_CHARACTERS:
            yield replace(found, text=text)


def parted(
    documents: Iterable[Document], *, characters: int = PART_CHARACTERS, groups: bool = False
) -> Iterator[Document]:
    """Documents of at most about so many characters, cut between paragraphs into equal parts.

    With `groups` every part is a group of its own.
    """
    for found in documents:
        count = -(-len(found.text) // characters)
        parts = [""] * count
        before = 0
        for paragraph in found.text.split("\n\n"):
            # Equal parts, instead of full ones and a stub that would be too short to keep.
            number = before * count // len(found.text)
            parts[number] += "\n\n" + paragraph if parts[number] else paragraph
            before += len(paragraph) + 2
        for number, text in enumerate(filter(None, parts)):
            name = f"{found.id}:{number}"
            group = name if groups else found.group
            yield found if count == 1 else Document(id=name, group=group, text=text)
