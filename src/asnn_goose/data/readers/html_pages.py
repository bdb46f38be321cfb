"""Prose of HTML pages, such as manuals and books that come as one file a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, text_of
from asnn_goose.data.readers.prose import WORDS, document, is_prose

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = _HEADINGS | frozenset(
    (
        "p",
        "div",
        "li",
        "dd",
        "dt",
        "td",
        "th",
        "tr",
        "table",
        "ul",
        "ol",
        "dl",
        "blockquote",
        "section",
        "article",
        "body",
        "br-br",
        "center",
        "hr",
    )
)
_SILENT = frozenset(
    (
        "head",
        "script",
        "style",
        "pre",
        "nav",
        "aside",
        "header",
        "footer",
        "form",
        "button",
        "select",
        "noscript",
        "svg",
        "math",
    )
)
_VOID = frozenset(
    (
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    )
)
_PERMALINK = re.compile(r"\s*[¶]\s*$|\s*\[?#\]?\s*$")
LINK_SHARE = 0.5
"""A block of which more than this share is links is a menu."""


def read_html(
    folder: Path, *, pattern: str, words: int = WORDS, skip: str | None = None
) -> Iterator[Document]:
    """One document per page of `folder`: headings, and the paragraphs and list items of prose.

    Code, tables of contents, forms and scripts are left out, and headings without prose below
    them. `skip` is a regular expression of pages (relative paths) to leave out. Groups are pages.
    """
    for file in files_of(folder, pattern):
        name = str(file.relative_to(folder))
        if skip is None or not re.search(skip, name):
            yield from document(name, name, page_prose(text_of(file), words=words))


def page_prose(markup: str, *, words: int = WORDS) -> Iterator[str]:
    """Paragraphs of one page, in order."""
    page = _Page()
    page.feed(markup)
    page.close()
    page.flush()
    headings: list[str] = []
    for tag, text in page.blocks:
        if tag in _HEADINGS:
            # A heading of the same or a higher rank ends what an earlier one had begun.
            headings = [h for h in headings if h[1] < tag[1]] + [f"{tag}{text}"]
        elif is_prose(text, words=words):
            yield from (heading[2:] for heading in headings)
            headings = []
            yield text


class _Page(HTMLParser):
    """Collects (tag, text) of every block; tags that nobody closes do no harm."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[str, str]] = []
        self._tag, self._text, self._linked = "", "", 0
        self._silent: list[str] = []
        self._in_link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._silent:
            if tag == self._silent[-1]:
                self._silent.append(tag)
            return
        if tag in _SILENT:
            self.flush()
            self._silent.append(tag)
        elif tag in _BLOCKS:
            self.flush()
            self._tag = tag
        elif tag == "br":
            self._text += " "
        elif tag == "a":
            self._in_link = True

    def handle_endtag(self, tag: str) -> None:
        if self._silent:
            if tag == self._silent[-1]:
                self._silent.pop()
        elif tag in _BLOCKS:
            self.flush()
        elif tag == "a":
            self._in_link = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._text += data
            self._linked += len(data) if self._in_link else 0

    def flush(self) -> None:
        """End the block under way."""
        text = _PERMALINK.sub("", " ".join(self._text.split()))
        if text and self._linked <= LINK_SHARE * len(self._text):
            self.blocks.append((self._tag, text))
        self._tag, self._text, self._linked = "", "", 0
