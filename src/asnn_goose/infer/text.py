"""Text to tokens and back, without Transformers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from asnn_goose.chat_template import TextError as TextError
from asnn_goose.infer.pieces import pieces

DOCUMENT_SEPARATOR = "<|endoftext|>"

MARKS = 0x100000
"""First of the private characters that stand for special tokens among what stop strings see."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A tokenizer and what its special tokens mean; `vocabulary_of` makes one.

    separator  token that stands between two documents
    ends       tokens after which a text is over
    start      token that an empty prompt stands for; None: the separator
    """

    core: Tokenizer
    separator: int
    ends: frozenset[int]
    start: int | None = None
    _special: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        added = self.core.get_added_tokens_decoder().items()
        special = {token.content: number for number, token in added if token.special}
        object.__setattr__(self, "_special", special)

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; special ones only where they are written out in it.

        Raises TextError for what is no Unicode, such as bytes that are no UTF-8.
        """
        found: list[int] = self.core.encode(checked(text), add_special_tokens=False).ids
        return found

    def ids_from(self, text: str, start: int) -> list[int] | None:
        """Of the tokens of a whole text those from a character on; None where it cuts a token.

        Raises TextError as `ids` does.
        """
        encoded = self.core.encode(checked(text), add_special_tokens=False)
        later = [n for n, (_, end) in enumerate(encoded.offsets) if end > start]
        if not later:
            return []
        first = min(later)
        fits = all(begin >= start for begin, _ in encoded.offsets[first:])
        # A token that straddles the start would be read twice, in part: then the whole is read
        # anew.
        ids: list[int] = encoded.ids[first:]
        return ids if fits else None

    def prompt_ids(self, prompt: str) -> list[int]:
        """Tokens of a prompt as Transformers gives them, those that the tokenizer adds included.

        An empty prompt of a tokenizer that adds none is the token that begins a text.
        """
        found: list[int] = self.core.encode(checked(prompt), add_special_tokens=True).ids
        return found or [self.separator if self.start is None else self.start]

    def pieces(
        self, before: Sequence[int], drawn: Iterable[int], *, marks: Mapping[int, str] | None = None
    ) -> Iterator[str]:
        """One piece of text per token, empty while a character is incomplete.

        The end of the tokens before tells whether a space belongs before the first piece. Special
        tokens show as their entry of `marks`, or not at all.
        """
        return pieces(self.core, before, drawn, marks=marks or {})

    def marks(self, stops: Iterable[str]) -> dict[int, str]:
        """A private character for every special token that stands in a stop string."""
        named = sorted(text for text in self._special if any(text in stop for stop in stops))
        return {self._special[text]: chr(MARKS + n) for n, text in enumerate(named)}

    def until_stop(
        self, before: Sequence[int], drawn: Iterable[int], stops: Sequence[str]
    ) -> Iterator[str]:
        """Text of drawn tokens up to the first stop string, which may hold special tokens."""
        marks = self.marks(stops)
        found = self.pieces(before, drawn, marks=marks)
        for piece in until_stop(found, self.marked(stops)):
            yield unmarked(piece)

    def marked(self, stops: Sequence[str]) -> list[str]:
        """Stop strings with the `marks` of special tokens in their place, the longest first."""
        marks = self.marks(stops)
        names = {text: marks[n] for text, n in self._special.items() if n in marks}
        found = list(stops)
        for text in sorted(names, key=len, reverse=True):
            found = [stop.replace(text, names[text]) for stop in found]
        return found


def unmarked(piece: str) -> str:
    """A piece of text without marks of special tokens."""
    return "".join(letter for letter in piece if ord(letter) < MARKS)


def checked(text: str) -> str:
    """The text itself. Raises TextError where it holds what no UTF-8 stands for."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = ord(text[error.start])
        what = f"byte 0x{found - 0xDC00:02x}" if 0xDC80 <= found <= 0xDCFF else f"U+{found:04X}"
        raise TextError(
            f"the text is no UTF-8: {what} after {error.start} characters; save or type it as UTF-8"
        ) from error
    return text


def vocabulary_of(
    core: Tokenizer, *, named: Mapping[str, Any], settings: Sequence[Mapping[str, Any]], where: str
) -> Vocabulary:
    """A tokenizer with its special tokens; what it does to long texts is left out.

    named     eos_token and bos_token as text, if any
    settings  what else may name eos_token_id and bos_token_id: config and generation_config
    where     names the tokenizer in errors

    A text is over after the separator, the tokenizer's own end, and every end in `settings`.
    Raises TextError where no token ends a document, or an end is no number of a token.
    """
    core = Tokenizer.from_str(core.to_str())  # the caller's own may be in use elsewhere
    # A tokenizer's file may cut long texts, which for a recurrent model have no end.
    core.no_truncation()
    core.no_padding()
    # In this order: a chat model's eos_token ends a turn, and documents were packed with the
    # separator.
    candidates = (DOCUMENT_SEPARATOR, named.get("eos_token"), named.get("bos_token"))
    ids = [core.token_to_id(token) for token in candidates if token]
    known = [number for number in ids if number is not None]
    if not known:
        raise TextError(
            f"{where}: no token ends a document: name an eos_token in tokenizer_config.json"
        )
    ends = {known[0], core.token_to_id(named.get("eos_token") or "")}
    for table in settings:
        ends |= _ends(table.get("eos_token_id"), where=where)
    starts = [core.token_to_id(named.get("bos_token") or "")]
    starts += [table.get("bos_token_id") for table in settings]
    return Vocabulary(
        core=core,
        separator=known[0],
        ends=frozenset(end for end in ends if end is not None),
        start=next((start for start in starts if start is not None), None),
    )


def _ends(found: Any, *, where: str) -> set[int]:
    """What eos_token_id names: one token, several, or none."""
    ends = found if isinstance(found, list) else [] if found is None else [found]
    for end in ends:
        if not isinstance(end, int) or isinstance(end, bool):
            raise TextError(f"{where}: eos_token_id = {found!r}: must be the number of a token")
    return set(ends)


def read_vocabulary(folder: Path, config: dict[str, Any]) -> Vocabulary:
    """The tokenizer of a packed model, with the special tokens that its files name.

    Raises TextError where tokenizer.json is missing or unreadable, or where no token ends a
    document.
    """
    return vocabulary_of(
        _read_tokenizer(folder / "tokenizer.json"),
        named=special_tokens(folder),
        settings=(config, json_table(folder / "generation_config.json")),
        where=str(folder),
    )


def _read_tokenizer(file: Path) -> Tokenizer:
    if not file.is_file():
        raise TextError(f"{file} is missing: export the student again, with its tokenizer")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise TextError(f"{file} is not readable as a tokenizer: {error}") from error


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
    return json_table(folder / "tokenizer_config.json")


def json_table(file: Path) -> dict[str, Any]:
    """The JSON object in a file, or nothing where there is none. Raises TextError for no JSON."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TextError(f"{file} is not readable as JSON: {error}") from error
    if not isinstance(found, dict):
        raise TextError(f"{file} holds a {type(found).__name__}: must be a JSON object")
    return found


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Text up to the first stop string, piece by piece; what may be a part of one waits.

    >>> list(until_stop(["one", " t", "wo st", "op!"], ["two stop"]))
    ['one', ' ']
    """
    held = UntilStop(stops)
    for piece in pieces:
        text = held.write(piece)
        if text or not held.stopped:
            yield text
        if held.stopped:
            return
    if text := held.rest():
        yield text


class UntilStop:
    """Holds text back only as far as a stop string may still come.

    stopped  whether one has come; the text ends before it
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held, self.stopped = stops, "", False

    def write(self, piece: str) -> str:
        """What is sure to be text after this piece."""
        self._held += piece
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.stopped = True
            return self._held[: min(places)]
        sure = len(self._held) - self._unfinished()
        text, self._held = self._held[:sure], self._held[sure:]
        return text

    def rest(self) -> str:
        """What was held back, where the text ends without its stop string."""
        return "" if self.stopped else self._held

    def _unfinished(self) -> int:
        """Length of the longest end of the text with which a stop string begins."""
        longest = max(map(len, self._stops), default=0)
        for length in range(min(len(self._held), longest - 1), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
