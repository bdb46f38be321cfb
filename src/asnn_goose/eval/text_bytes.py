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


SAMPLE = "A goose, 1984:  it's\nhere"
"""Letters, digits, marks and white space of all kinds, a byte each."""


def text_bytes(tokenizer: PreTrainedTokenizerBase, vocabulary: int = 0) -> Tensor:
    """UTF-8 bytes of every token (int64); special tokens count 0.

    Summed over the ids of a text this is the length of that text in bytes, exactly, even where
    a window cuts a character in two; decoding each window would count such a character twice.
    `vocabulary` extends the table, with zeros, to the rows of a larger (padded) model. Nothing but
    zeros for a tokenizer whose tokens do not spell their text (`spelling`).
    """
    # Special tokens stay 0: they stand for no character of the text.
    return torch.tensor(
        [
            0 if piece is None else piece_bytes(piece, byte_level=byte_level)
            for piece, byte_level in spelling(tokenizer, vocabulary)
        ]
    )


def spelling(tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> list[tuple[str | None, bool]]:
    """`pieces_of`, where the pieces of a text joined are that text; else None for every id.

    Word pieces and whole words leave out the white space, and others what they do not know: what
    is counted in them says nothing of the text.
    """
    found = list(pieces_of(tokenizer, vocabulary))
    ids = tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]
    size = sum(
        piece_bytes(piece, byte_level=level)
        for piece, level in map(found.__getitem__, ids)
        if piece
    )
    # One more where a space is put in front of a text.
    return found if size - len(SAMPLE) in (0, 1) else [(None, False)] * len(found)


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
