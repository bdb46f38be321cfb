"""Prompts by kind: from where they are taken, and by what alone they are decided."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from asnn_goose.data.document import DataError
from asnn_goose.data.shards import Shard, ShardMeta
from asnn_goose.teachers.prompt_kinds import PROMPTS, Kind, Prompts

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A token for every byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate([END, *letters])}
    core = Tokenizer(models.BPE(words, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END)


def shard_of(*documents: list[int]) -> Shard:
    """Documents of tokens, and a separator 0 after each."""
    tokens = [id_ for document in documents for id_ in [*document, 0]]
    starts = np.cumsum([0, *(len(document) + 1 for document in documents[:-1])])
    meta = ShardMeta(
        name="made", version="", split="train", tokenizer="", separator=0, dtype="uint16",
        documents=len(documents), tokens=len(tokens), bytes=1,
    )  # fmt: skip
    return Shard(tokens_N=np.array(tokens, np.uint16), starts=starts, meta=meta)


def numbered(*lengths: int, first: int = 1) -> Shard:
    """Documents of so many tokens, each a number of its own."""
    return shard_of(*([number] * n for number, n in enumerate(lengths, first)))


def drawn(shards: list[Shard], kind: str, count: int, tokenizer: Any, **sizes: int) -> Any:
    prompts = Prompts(shards, tokenizer, **{"length": 4, "longest": 90} | sizes)
    random = np.random.default_rng(0)
    return [PROMPTS[kind](prompts, random).tolist() for _ in range(count)]


def texts(tokenizer: Any, *said: str) -> Shard:
    return shard_of(*(tokenizer(text)["input_ids"] for text in said))


def test_every_place_of_a_text_gives_a_passage_alike(tokenizer: Any) -> None:
    shards = [shard_of([1, 2, 3, 4, 5, 6], [7, 8]), shard_of([9], [10, 11, 12, 13])]
    found = drawn(shards, "passage", 400, tokenizer)
    places = [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [10, 11, 12, 13]]
    assert all(70 < found.count(place) < 130 for place in places)
    assert len(found) == sum(found.count(place) for place in places)


def test_openings_are_of_every_text_alike(tokenizer: Any) -> None:
    shards = [numbered(*[9] * 50), numbered(2, 7, first=60)]
    found = drawn(shards, "opening", 400, tokenizer)
    assert 160 < sum(ids[0] >= 60 for ids in found) < 240
    assert {tuple(ids) for ids in found if ids[0] >= 60} == {(60, 60), (61, 61, 61, 61)}
    counted = shard_of([*range(1, 9)], [*range(20, 30)])
    assert {tuple(p) for p in drawn([counted], "opening", 40, tokenizer)} == {
        (1, 2, 3, 4), (20, 21, 22, 23)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("title", {"On Geese\n\n"}),
        ("question", {"Question: Where do the geese fly in winter?\nAnswer:"}),
        ("dialogue", {"A: They all fly to the quiet lake.\nB:"}),
    ],
)
def test_prompts_that_are_found_in_texts(kind: str, wanted: set[str], tokenizer: Any) -> None:
    told = (
        'On Geese\n\nNobody knew. Where do the geese fly in winter? He said, "They all fly to the '
        'quiet lake."'
    )
    plain = "a line without an end that is far too long to be the title of anything at all, " * 2
    found = drawn([texts(tokenizer, told, plain)], kind, 20, tokenizer)
    assert {tokenizer.decode(ids) for ids in found} == wanted


def test_what_the_texts_lack_is_said(tokenizer: Any) -> None:
    plain = texts(tokenizer, "nothing is asked here " * 9)
    with pytest.raises(DataError, match=r"nothing for prompts such as 'Question.* leave the kind"):
        drawn([plain], "question", 1, tokenizer)
    asked = texts(tokenizer, "So. Where do all of the grey geese fly in winter? Far. " * 3)
    with pytest.raises(DataError, match="of at most 20 tokens"):
        drawn([asked], "question", 1, tokenizer, longest=20)
    with pytest.raises(DataError, match=r"prompt_tokens = 40: needs .* the longest has 9;"):
        drawn([numbered(3, 9, 4)], "passage", 1, tokenizer, length=40)


def test_a_generator_decides_all(tokenizer: Any) -> None:
    shard = texts(tokenizer, *(f"Title {n}\n\nWho was it, number {n}? One." for n in range(40)))
    for kind in ("passage", "opening", "title", "question"):
        first = drawn([shard], kind, 30, tokenizer)
        assert first == drawn([shard], kind, 30, tokenizer)
        assert len({tuple(ids) for ids in first}) > 5 or kind == "opening"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "tittle"}, "did you mean 'title'"),
        ({"share": 0.0}, r"share = 0\.0 of passage: must be above 0"),
        ({"temperature": 0.0}, r"temperature = 0\.0: must be above 0"),
        ({"temperature": math.nan}, "temperature = nan: must be above 0"),
        ({"temperature": 1e-40}, "temperature = 1e-40: must be above 0, at least 1e-06"),
        ({"top_p": 0.0}, r"top_p = 0\.0: must be above 0 and at most 1"),
        ({"top_p": 1.5}, r"top_p = 1\.5: must be"),
    ],
)
def test_senseless_kinds_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Kind(**settings)
