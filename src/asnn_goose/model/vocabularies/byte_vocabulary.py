"""A tokenizer seen as bytes: which bytes every token stands for, and which tokens a text gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from asnn_goose.model.families import TeacherError

BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
"""How SentencePiece vocabularies write a space."""

PROBE = "A goose and the others, in the north."
"""Text whose bytes every tokenizer that can be aligned must keep."""

PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
"""Bytes that byte-level vocabularies write as the character of that number; the others follow from
256 on."""


class Tokens(NamedTuple):
    """Tokens of a text, and how many of its bytes are read after each.

    `ends` is None where the tokens' bytes are not those of the text.
    """

    ids: list[int]
    ends: list[int] | None


class ByteVocabulary:
    """The tokens of a tokenizer as bytes; special tokens have none.

    Raises TeacherError, which names the model, for a tokenizer that changes plain text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
        self.tokenizer, self.name = tokenizer, name
        self.special = _special(tokenizer)
        self._pieces = _pieces(tokenizer, self.special)
        self._core = getattr(tokenizer, "backend_tokenizer", None)
        if self._core is None:
            raise TeacherError(f"teacher {name!r}: its tokenizer is not one of the fast ones")
        start = self.bytes_of(self._encode("a"))
        self.prefix = start.removesuffix(b"a") if start.endswith(b"a") else b""
        if self.read(PROBE).ends is None:
            raise TeacherError(
                f"teacher {name!r}: its tokenizer makes {self.bytes_of(self._encode(PROBE))!r} of"
                f" {PROBE!r}: tokens of two vocabularies are aligned by the bytes of the text,"
                " which both must keep"
            )

    def piece(self, token: int) -> bytes:
        """Bytes of a token; none of a special or an unknown one."""
        return self._pieces.get(token, b"")

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """Bytes of tokens, one after the other."""
        return b"".join(map(self.piece, ids))

    def read(self, text: str) -> Tokens:
        """The tokens of a text; a space that the tokenizer puts in front of it counts no byte."""
        ids, wanted = self._encode(text), text.encode()
        found = self.bytes_of(ids)
        if found == wanted:
            return Tokens(ids, self._ends(ids, 0))
        if self.prefix and found == self.prefix + wanted:
            return Tokens(ids, self._ends(ids, len(self.prefix)))
        return Tokens(ids, None)

    def _ends(self, ids: Sequence[int], before: int) -> list[int]:
        return [max(0, end - before) for end in accumulate(len(self.piece(id)) for id in ids)]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._core.encode(text, add_special_tokens=False).ids  # type: ignore[union-attr]
        return ids


def _special(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    marked = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset(tokenizer.all_special_ids).union(marked)


def _pieces(tokenizer: PreTrainedTokenizerBase, special: frozenset[int]) -> dict[int, bytes]:
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    byte_level = "ByteLevel" in str(decoder)
    added = set(tokenizer.get_added_vocab().values())
    return {
        number: _bytes(piece, byte_level=byte_level and number not in added)
        for piece, number in tokenizer.get_vocab().items()
        if number not in special
    }


def _bytes(piece: str, *, byte_level: bool) -> bytes:
    if byte_level:
        return bytes(_LETTERS[letter] for letter in piece if letter in _LETTERS)
    if found := BYTE_PIECE.fullmatch(piece):
        return bytes([int(found[1], 16)])
    return piece.replace(WORD_START, " ").encode()


_OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
_LETTERS = {chr(byte): byte for byte in PRINTABLE} | {
    chr(256 + place): byte for place, byte in enumerate(_OTHERS)
}
