"""Prose of HTML pages, such as manuals and books that come as one file a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lxml import etree, html

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, text_of
from asnn_goose.data.readers.prose import WORDS, document, is_prose

LINK_SHARE = 0.5
"""A block of which more than this share is links is a menu."""

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = _HEADINGS | frozenset(
    "html body p div section article blockquote center hr li dd dt ul ol dl td th tr table".split()  # noqa: SIM905
)
_SILENT = (
    "head script style pre nav aside header footer form button select noscript svg math".split()  # noqa: SIM905
)
_PERMALINK = re.compile(r"\s*¶\s*$|\s*\[?#\]?\s*$")
_PARSER = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)


def read_html(
    folder: Path, *, pattern: str, words: int = WORDS, skip: str | None = None
) -> Iterator[Document]:
    """One document per page of `folder`: headings, and the paragraphs and list items of prose.

    Code, menus, forms and scripts are left out, and headings without prose below them. `skip` is a
    regular expression of pages (relative paths) to leave out. Groups are pages.
    """
    for file in files_of(folder, pattern):
        name = str(file.relative_to(folder))
        if skip is None or not re.search(skip, name):
            yield from document(name, name, page_prose(text_of(file), words=words))


def page_prose(markup: str, *, words: int = WORDS) -> Iterator[str]:
    """Paragraphs of one page, in order."""
    headings: list[tuple[str, str]] = []
    for tag, text in page_blocks(markup):
        if tag in _HEADINGS:
            # A heading of the same or a higher rank ends what an earlier one had begun.
            headings = [(rank, held) for rank, held in headings if rank < tag] + [(tag, text)]
        elif is_prose(text, words=words):
            # Only now: a heading without prose below it says nothing.
            yield from (held for _, held in headings)
            headings = []
            yield text


def page_blocks(markup: str) -> Iterator[tuple[str, str]]:
    """(tag, text) of every block of a page that is not mostly links."""
    try:
        root = html.document_fromstring(markup.encode(), parser=_PARSER)
    except etree.ParserError:
        # Nothing but blanks and comments.
        return
    # Before tags are stripped, or two lines would become one word.
    for line_break in root.iter("br"):
        line_break.tail = f" {line_break.tail or ''}"
    # Without their tails, which are text of the page around them.
    etree.strip_elements(root, *_SILENT, with_tail=False)
    inline = {str(element.tag) for element in root.iter()} - _BLOCKS - {"a"}
    etree.strip_tags(root, *inline)
    tag, text, linked = "", "", 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        link, begins = element.tag == "a", event == "start"
        if not link:
            said = _PERMALINK.sub("", " ".join(text.split()))
            if said and linked <= LINK_SHARE * len(text):
                yield tag, said
            tag, text, linked = (str(element.tag) if begins else ""), "", 0
        added = (element.text if begins else element.tail) or ""
        text += added
        linked += len(added) if link and begins else 0
