"""Bytes per token add up to the length of the text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from asnn_goose.eval.text_bytes import piece_bytes, text_bytes
from asnn_goose.eval.word_counts import word_table

TEXTS = [
    "The quick brown fox, 1984; the lazy dog.",
    "Zażółć gęślą jaźń\n\n  naïve café",
    "雪 и ещё — \N{GRINNING FACE}!",
]


@pytest.fixture
def byte_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    core.train_from_iterator(TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")
    tokenizer.add_tokens(["née"])
    return tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_sum_is_the_length_of_the_text(byte_level: PreTrainedTokenizerFast, text: str) -> None:
    ids = byte_level(text)["input_ids"]
    assert int(text_bytes(byte_level)[ids].sum()) == len(text.encode())


BYTES = ["byte_fallback", "byte_level", "unigram_bytes"]


@pytest.mark.parametrize(
    ("kind", "text"), [*product(BYTES, TEXTS), ("sentencepiece", "the goose,  1984\nit's")]
)
def test_every_kind_that_spells_its_text_adds_up(
    of_kind: Callable[..., PreTrainedTokenizerFast], kind: str, text: str
) -> None:
    tokenizer = of_kind(kind)
    found = int(text_bytes(tokenizer)[tokenizer(text)["input_ids"]].sum())
    in_front = kind != "byte_level"  # of a space
    assert found == len(text.encode()) + in_front


@pytest.mark.parametrize("kind", ["word_piece", "word_level"])
def test_of_tokens_that_do_not_spell_their_text_nothing_is_counted(
    of_kind: Callable[..., PreTrainedTokenizerFast], kind: str
) -> None:
    """They leave out the spaces between words."""
    tokenizer = of_kind(kind)
    ids = torch.tensor(tokenizer("the goose is here")["input_ids"])
    assert not text_bytes(tokenizer).any()
    counted = torch.ones(len(ids) - 1, dtype=torch.bool)
    assert word_table(tokenizer).count(ids[:-1], ids[1:], counted) == 0


def test_separators_are_no_text_and_added_words_are_literal(
    byte_level: PreTrainedTokenizerFast,
) -> None:
    table_V = text_bytes(byte_level)
    assert table_V[byte_level.eos_token_id] == 0
    assert table_V[byte_level.convert_tokens_to_ids("née")] == 4


def test_table_reaches_over_padded_rows(byte_level: PreTrainedTokenizerFast) -> None:
    table_V = text_bytes(byte_level, len(byte_level) + 7)
    assert table_V.shape == (len(byte_level) + 7,)
    assert table_V[-7:].sum() == 0


@pytest.mark.parametrize(
    ("piece", "expected"),
    [("<0xE2>", 1), ("\N{LOWER ONE EIGHTH BLOCK}née", 5), ("the", 3), ("\n", 1)],
)
def test_sentencepiece_entries(piece: str, expected: int) -> None:
    assert piece_bytes(piece, byte_level=False) == expected


def test_ids_may_have_holes() -> None:
    letters = {letter: n for n, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    core = Tokenizer(models.BPE({**letters, "bcd": 300, "of": 70_000}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    table_V = text_bytes(PreTrainedTokenizerFast(tokenizer_object=core))
    assert table_V.shape == (70_001,)
    assert table_V[[0, 300, 299, 70_000]].tolist() == [1, 3, 0, 2]
