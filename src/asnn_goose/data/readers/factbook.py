"""Pages of The World Factbook in JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, json_of

PROSE_CHARACTERS = 200
"""A factbook field of at least this length is prose; shorter ones are mostly tables of figures."""

_LINE_BREAK = re.compile(r"</?(?:br|p)\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_BLANKS = re.compile(r"[ \t\xa0]+")


def read_factbook(folder: Path) -> Iterator[Document]:
    """One document per country in `folder`/REGION/CODE.json: its prose as "Field: value" lines.

    The page about the whole world is left out: it ranks and counts the countries of every split.
    """
    for file in files_of(folder, "*/*.json"):
        if file.parent.name != "world":
            sections = json_of(file)
            name = _country_name(sections)
            # Some fields stand in two sections of a page; a dict drops repetitions, in order.
            fields = list(dict.fromkeys(_prose(sections, field="")))
            if fields:
                text = "\n\n".join([name, *fields] if name else fields)
                yield Document(id=file.stem, group=name or file.stem, text=text)


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
