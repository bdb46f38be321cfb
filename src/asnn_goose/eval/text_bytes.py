"""How many bytes of text every token of a vocabulary stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
"""How SentencePiece vocabularies write a space."""


def text_bytes(tokenizer: PreTrainedTokenizerBase, vocabulary: int = 0) -> Tensor:
    """UTF-8 bytes of every token (int64); special tokens count 0.

    Summed over the ids of a text this is the length of that text in bytes, exactly, even where
    a window cuts a character in two; decoding each window would count such a character twice.
    `vocabulary` extends the table, with zeros, to the rows of a larger (padded) model.
    """
    # Special tokens stay 0: they stand for no character of the text.
    return torch.tensor(
        [
            0 if piece is None else piece_bytes(piece, byte_level=byte_level)
            for piece, byte_level in pieces_of(tokenizer, vocabulary)
        ]
    )


def pieces_of(
    tokenizer: PreTrainedTokenizerBase, vocabulary: int
) -> Iterator[tuple[str | None, bool]]:
    """Entry of every id, and whether it writes each byte as a character of its own.

    None for special tokens, and for ids without a token: those below the highest one, and up to
    `vocabulary`.
    """
    pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}
    special, added = set(tokenizer.all_special_ids), set(tokenizer.get_added_vocab().values())
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    byte_level = "ByteLevel" in str(decoder)
    for number in range(max(1 + max(pieces), vocabulary)):  # not len(tokenizer): ids have holes
        piece = None if number in special else pieces.get(number)
        # Added tokens are written as they are, whatever the decoder does to the others.
        yield piece, byte_level and number not in added


def piece_bytes(piece: str, *, byte_level: bool) -> int:
    """Bytes of one vocabulary entry; a byte-level entry writes every byte as one character."""
    if byte_level:
        return len(piece)
    if BYTE_PIECE.fullmatch(piece):
        return 1
    return len(piece.replace(WORD_START, " ").encode())
