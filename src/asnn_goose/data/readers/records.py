"""Records in JSON and in Debian's control format: articles, recipes, talk, descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from asnn_goose.data.document import Document
from asnn_goose.data.readers.files import files_of, json_of, text_of
from asnn_goose.data.readers.prose import document, is_prose, paragraphs

WIKITEXT_TITLES = frozenset({"Manila", "Du Fu", "Nero", "Olmec colossal heads"})
"""Articles that are also in the test split of WikiText-2, and must not be trained on."""

TURNS, TURN_WORDS = 6, 4
"""Conversations have at least this many turns, of this many words on average."""

# A picture's caption runs into the step that follows it.
_CAPTION = re.compile(r"(?:thumb|left|right|none)\|.*?(?<=[a-z.])(?=[A-Z])")
_FAMILY = re.compile(r"^(?:lib|python3?-|golang-|node-|ruby-|r-cran-|r-bioc-|fonts-|php-)?[a-z]+")


def read_summaries(file: Path) -> Iterator[Document]:
    """One document per article: its title, a blank line, its summary; grouped by title."""
    for record in json_of(file).values():
        title, summary = record["title"], record["extract"].strip()
        if summary and title not in WIKITEXT_TITLES:
            yield Document(id=title, group=title, text=f"{title}\n\n{summary}")


def read_first_texts(file: Path) -> Iterator[Document]:
    """One document per line of a .jsonl file: what stands under the key "0"."""
    for line in text_of(file).splitlines():
        text = json.loads(line)["0"].strip()
        yield from document(text[:40], text[:40], paragraphs(text))


def read_recipes(file: Path) -> Iterator[Document]:
    """One document per recipe: title, ingredients, numbered steps; grouped by title."""
    for record in json_of(file).values():
        title, steps = record["title"], record["steps"]
        if steps and record["ingredients"]:
            listed = "\n".join(f"- {ingredient}" for ingredient in record["ingredients"])
            numbered = "\n".join(f"{n}. {_CAPTION.sub('', s)}" for n, s in enumerate(steps, 1))
            parts = [title, f"Ingredients:\n{listed}", f"Steps:\n{numbered}"]
            yield from document(title, title, parts)


def read_conversations(file: Path) -> Iterator[Document]:
    """One document per conversation: a line a turn, "A: " or "B: " before it.

    Short conversations, and those of hardly a word a turn, are left out.
    """
    for name, record in json_of(file).items():
        turns = _turns(record["messages"])
        words = sum(len(text.split()) for _, text in turns)
        if len(turns) >= TURNS and words >= TURN_WORDS * len(turns):
            text = "\n".join(f"{speaker}: {text}" for speaker, text in turns)
            yield from document(name, name, [text])


def read_descriptions(folder: Path, *, pattern: str) -> Iterator[Document]:
    """One document per package: its short description and the prose of the long one.

    Groups are first words of names, for packages built from one source describe it alike.
    """
    for file in files_of(folder, pattern):
        for stanza in text_of(file).split("\n\n"):
            if stanza.startswith("Package: "):
                yield from _description(stanza)


def _turns(messages: list[list[dict[str, Any]]]) -> list[tuple[str, str]]:
    sent = [message for run in messages for message in run]
    speakers: dict[str, str] = {}
    turns = []
    for sender, run in groupby(sent, key=lambda message: str(message["sender"])):
        # Letters for names: what people are called is nothing to learn, and not ours to keep.
        speaker = speakers.setdefault(sender, chr(ord("A") + len(speakers)))
        turns.append((speaker, " ".join(" ".join(message["text"].split()) for message in run)))
    return turns


def _description(stanza: str) -> Iterator[Document]:
    name = stanza.partition("\n")[0].removeprefix("Package: ")
    title, _, rest = stanza.partition("\nDescription-en: ")[2].partition("\n")
    # Lines of prose are indented by one blank; by more, they are lists. A lone dot is a blank line.
    lines = ("" if line.strip() == "." else line for line in rest.splitlines())
    text = "\n".join(line if not line.startswith("  ") else f"\n{line}\n" for line in lines)
    kept = [part for part in paragraphs(text) if is_prose(part)]
    if kept:
        # By family, because packages of one source repeat each other's words: in two splits they
        # would be seen before they are scored.
        family = _FAMILY.match(name)
        yield from document(name, family[0] if family else name, [f"{name}: {title}", *kept])
