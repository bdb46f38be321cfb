"""How many words a run of tokens begins, exactly, whatever the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from asnn_goose.eval.text_bytes import BYTE_PIECE, WORD_START, spelling

SPACES = {" ": 0x20, "\t": 0x09, "\n": 0x0A, "\v": 0x0B, "\f": 0x0C, "\r": 0x0D}
"""White space that separates words here; other kinds are rare, and one byte would not show them."""

BYTE_LEVEL = {chr(0x100 + byte): space for space, byte in SPACES.items()}
"""How byte-level vocabularies write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTable:
    """Of every token of a vocabulary (V,): how it lies to white space.

    inside   words that begin within it, after white space of its own
    opens    it begins with something else than white space
    closes   it ends in white space, so that what follows begins a word
    """

    inside_V: Tensor
    opens_V: Tensor
    closes_V: Tensor

    def count(self, tokens_BT: Tensor, labels_BT: Tensor, counted_BT: Tensor) -> int:
        """Words that begin in the counted labels, each of which follows its token."""
        labels_n, tokens_n = labels_BT[counted_BT], tokens_BT[counted_BT]
        starts_n = self.opens_V[labels_n] & self.closes_V[tokens_n]
        return int(self.inside_V[labels_n].sum() + starts_n.sum())


def word_table(tokenizer: PreTrainedTokenizerBase, vocabulary: int = 0) -> WordTable:
    """The table of a tokenizer, extended to `vocabulary` rows; special tokens stand between words.

    Summed over a text it gives the number of its words, as `str.split` does; 0 for a tokenizer
    whose tokens do not spell their text.
    """
    texts = [
        " " if piece is None else piece_text(piece, byte_level=byte_level)
        for piece, byte_level in spelling(tokenizer, vocabulary)
    ]
    return WordTable(
        inside_V=torch.tensor([words_inside(text) for text in texts]),
        opens_V=torch.tensor([text[:1] not in SPACES for text in texts]),
        closes_V=torch.tensor([text[-1:] in SPACES for text in texts]),
    )


def piece_text(piece: str, *, byte_level: bool) -> str:
    """A vocabulary entry with its white space as such; other bytes may stand for themselves."""
    if byte_level:
        return "".join(BYTE_LEVEL.get(letter, letter) for letter in piece)
    if BYTE_PIECE.fullmatch(piece):
        byte = int(piece[3:5], 16)
        return chr(byte) if byte in SPACES.values() else "?"
    return piece.replace(WORD_START, " ")


def words_inside(text: str) -> int:
    """Words of a piece that do not begin with it.

    >>> words_inside("a b"), words_inside(" b"), words_inside("b ")
    (1, 1, 0)
    """
    spaced = [letter in SPACES for letter in text]
    return sum(before and not here for before, here in pairwise(spaced))
