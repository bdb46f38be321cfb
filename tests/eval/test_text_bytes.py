"""Bytes per token add up to the length of the text."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from asnn_goose.eval.text_bytes import piece_bytes, text_bytes

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
    core = Tokenizer(models.WordLevel({"a": 0, "bcd": 5, "?": 70_000}, unk_token="?"))
    table_V = text_bytes(PreTrainedTokenizerFast(tokenizer_object=core))
    assert table_V.shape == (70_001,)
    assert table_V[[0, 5, 3, 70_000]].tolist() == [1, 3, 0, 1]
