"""Streamed text is what the decoder makes of all tokens at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from asnn_goose.infer.pieces import BROKEN, pieces

Make = Callable[..., PreTrainedTokenizerFast]
KINDS = [
    "byte_fallback", "sentencepiece", "byte_level", "unigram_bytes", "word_piece", "word_level"
]  # fmt: skip
TEXTS = [
    "the goose",
    "日本語日本語",
    "a 日本 goose, naïve\n雪 and 日",
    "日本語" * 30,
    " the  goose ",
    "é",
]


def streamed(tokenizer: PreTrainedTokenizerFast, before: list[int], drawn: list[int]) -> str:
    return "".join(pieces(tokenizer.backend_tokenizer, before, drawn, marks={}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_cut_of_a_text_goes_on_as_the_whole(of_kind: Make, kind: str, text: str) -> None:
    tokenizer = of_kind(kind)
    ids = tokenizer(text + " the goose")["input_ids"]
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    for cut in range(1, len(ids), 1 + len(ids) // 40):
        before = tokenizer.decode(ids[:cut], skip_special_tokens=True)
        if not before.endswith(BROKEN):
            assert before + streamed(tokenizer, ids[:cut], ids[cut:]) == whole


def test_broken_bytes_after_a_run_of_characters(of_kind: Make) -> None:
    tokenizer = of_kind("byte_fallback")
    before, byte = tokenizer("日本語日本語")["input_ids"], tokenizer.convert_tokens_to_ids("<0xE6>")
    goose = tokenizer("goose", add_special_tokens=False)["input_ids"]
    assert streamed(tokenizer, before, goose) == " goose"
    assert streamed(tokenizer, before, [byte, byte, *goose]) == 2 * BROKEN + " goose"
    assert streamed(tokenizer, before, [byte]) == BROKEN
    assert streamed(tokenizer, [byte, *before], goose) == " goose"


def test_broken_bytes_alone_are_counted_as_the_decoder_counts_them(of_kind: Make) -> None:
    for kind in ("byte_fallback", "byte_level"):
        tokenizer = of_kind(kind)
        ids = tokenizer("日本", add_special_tokens=False)["input_ids"]
        drawn = [
            *ids[-6:],
            ids[-1],
            *ids[-6:],
            ids[-2],
            *tokenizer("b", add_special_tokens=False)["input_ids"],
        ]
        wanted = tokenizer.decode(drawn, skip_special_tokens=True)
        assert streamed(tokenizer, [1], drawn) == wanted


def test_a_character_comes_with_its_last_token_and_a_run_with_the_next(of_kind: Make) -> None:
    tokenizer = of_kind("byte_level")
    ids = tokenizer("日本", add_special_tokens=False)["input_ids"]
    found = list(pieces(tokenizer.backend_tokenizer, [1], ids, marks={}))
    assert found == ["", "", "日", "", "", "本"]
    tokenizer = of_kind("byte_fallback")
    ids = tokenizer("日b", add_special_tokens=False)["input_ids"][1:]
    found = list(pieces(tokenizer.backend_tokenizer, [1], ids, marks={}))
    assert found == ["", "", "", "日b"]
    assert list(pieces(tokenizer.backend_tokenizer, [1], ids[:3], marks={})) == ["", "", "", "日"]


def test_marks_stand_where_special_tokens_came(of_kind: Make) -> None:
    tokenizer = of_kind("byte_level")
    ids = tokenizer("a</s>b", add_special_tokens=False)["input_ids"]
    assert "".join(pieces(tokenizer.backend_tokenizer, [1], ids, marks={2: "*"})) == "a*b"
