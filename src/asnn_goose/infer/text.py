"""Text to tokens and back, without Transformers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from asnn_goose.chat_template import TextError as TextError

DOCUMENT_SEPARATOR = "<|endoftext|>"

CONTEXT = 8
"""Tokens that the decoder sees before the first drawn one."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A tokenizer and what its special tokens mean.

    separator  token that stands between two documents
    ends       tokens after which a text is over
    """

    core: Tokenizer
    separator: int
    ends: frozenset[int]

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; special ones only where they are written out in it."""
        found: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return found

    def prompt_ids(self, prompt: str) -> list[int]:
        """Tokens of a prompt; an empty one starts a new document."""
        return self.ids(prompt) or [self.separator]

    def pieces(self, before: Sequence[int], drawn: Iterable[int]) -> Iterator[str]:
        """One piece of text per token, empty while a character is incomplete.

        The end of the tokens before tells whether a space belongs before the first piece.
        """
        decoder = DecodeStream(ids=list(before[-CONTEXT:]), skip_special_tokens=True)
        for token in drawn:
            yield decoder.step(self.core, token) or ""


def read_vocabulary(folder: Path, config: dict[str, Any]) -> Vocabulary:
    """The tokenizer of a packed model, with the special tokens that its files name.

    Raises TextError where tokenizer.json is missing or unreadable, or where no token ends a
    document.
    """
    core = _read_tokenizer(folder / "tokenizer.json")
    named = special_tokens(folder)
    candidates = (DOCUMENT_SEPARATOR, named.get("eos_token"), named.get("bos_token"))
    ids = [core.token_to_id(token) for token in candidates if token]
    known = [number for number in ids if number is not None]
    if not known:
        raise TextError(
            f"{folder}: no token ends a document: name an eos_token in tokenizer_config.json"
        )
    eos = config.get("eos_token_id")
    ends = [*known[:1], core.token_to_id(named.get("eos_token", ""))]
    ends += eos if isinstance(eos, list) else [eos]
    return Vocabulary(
        core=core, separator=known[0], ends=frozenset(end for end in ends if end is not None)
    )


def _read_tokenizer(file: Path) -> Tokenizer:
    if not file.is_file():
        raise TextError(f"{file} is missing: export the student again, with its tokenizer")
    try:
        core = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise TextError(f"{file} is not readable as a tokenizer: {error}") from error
    core.no_truncation()
    core.no_padding()
    return core


def special_tokens(folder: Path) -> dict[str, str]:
    """Names such as eos_token and what they stand for, from tokenizer_config.json if any."""
    found = {}
    for name, value in tokenizer_config(folder).items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, or nothing where there is none. Raises TextError for no JSON."""
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TextError(f"{file} is not readable as JSON: {error}") from error
    if not isinstance(found, dict):
        raise TextError(f"{file} holds a {type(found).__name__}: must be a JSON object")
    return found


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Text up to the first stop string, piece by piece; what may be a part of one waits.

    >>> list(until_stop(["one", " t", "wo st", "op!"], ["two stop"]))
    ['one', ' ']
    """
    held = ""
    for piece in pieces:
        held += piece
        places = [place for stop in stops if (place := held.find(stop)) >= 0]
        if places:
            if min(places):
                yield held[: min(places)]
            return
        safe = len(held) - unfinished(held, stops)
        yield held[:safe]
        held = held[safe:]
    if held:
        yield held


def unfinished(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of a text with which a stop string begins."""
    longest = max(map(len, stops), default=0)
    for length in range(min(len(text), longest - 1), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
