"""Texts of a teacher: in number and length as asked, from its distribution, alike for a seed."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from asnn_goose.data.corpora import documents
from asnn_goose.data.document import DataError
from asnn_goose.data.records import Record
from asnn_goose.data.shards import Shard, ShardMeta, shard
from asnn_goose.model import TeacherError
from asnn_goose.teachers.author import fill
from asnn_goose.teachers.teacher_texts import Writer, Writing, prompts_of
from asnn_goose.teachers.text_file import TextFile

SENTENCE = "the goose flies over quiet lake and old teacher writes a long letter home"
WORDS = SENTENCE.split()
VOCABULARY = {
    word: number for number, word in enumerate(["<|endoftext|>", "<unk>", *WORDS, "<|end|>"])
}
ROWS = len(VOCABULARY) + 5  # padded, as many are


def write_tokenizer(folder: Path) -> None:
    core = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<|end|>"
    ).save_pretrained(folder)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """Nearly uniform over its words; a publisher's settings that are not to have an effect."""
    folder = tmp_path / "teacher"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=ROWS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, top_k=1, repetition_penalty=1.5, max_new_tokens=3
    )
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture
def writing(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writing:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(WORDS[i % 5 :] * 12) for i in range(80)))
    return Writing(
        model=str(teacher), tokens=400, window=24, batch=4, prompt_tokens=3, texts=(str(text),)
    )


def writer_of(writing: Writing) -> Writer:
    return Writer(writing, tell=lambda text: None)


def write(writing: Writing, out: Path, told: list[int] | None = None) -> TextFile:
    file = TextFile(out, asdict(writing))
    fill(writer_of(writing), file, advance=(told if told is not None else []).append)
    return file


def texts(file: TextFile) -> list[str]:
    return [document.text for document in documents(file.path, "all")]


def test_as_many_tokens_as_training_will_count(writing: Writing, tmp_path: Path) -> None:
    told: list[int] = []
    file = write(writing, tmp_path / "own.jsonl", told)
    read = shard(file.path, "all", writer_of(writing).tokenizer)
    assert read.meta.tokens == told[-1] >= 400
    assert told[0] == 0
    assert told == sorted(told)
    assert told[-2] < 400  # not a batch more than needed
    assert read.meta.documents == 4 * (len(told) - 1)
    assert max(len(text.split()) for text in texts(file)) <= 24


def test_a_seed_reproduces_them(writing: Writing, tmp_path: Path) -> None:
    one, again = (write(writing, tmp_path / f"{name}.jsonl") for name in ("one", "again"))
    other = write(replace(writing, seed=1), tmp_path / "other.jsonl")
    assert one.path.read_bytes() == again.path.read_bytes()
    assert len(set(texts(one)) & set(texts(other))) < 0.2 * len(texts(one))


def test_an_interrupted_file_goes_on_as_if_nothing_had_happened(
    writing: Writing, tmp_path: Path
) -> None:
    whole = write(writing, tmp_path / "whole.jsonl")
    file = TextFile(tmp_path / "cut.jsonl", asdict(writing))

    def interrupt(tokens: int) -> None:
        if tokens > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(writer_of(writing), file, advance=interrupt)
    told: list[int] = []
    fill(writer_of(writing), file, advance=told.append)
    assert told[0] > 150
    assert file.path.read_bytes() == whole.path.read_bytes()


def test_a_longer_file_begins_with_the_shorter(writing: Writing, tmp_path: Path) -> None:
    short = texts(write(writing, tmp_path / "short.jsonl"))
    long = texts(write(replace(writing, tokens=800), tmp_path / "long.jsonl"))
    assert long[: len(short)] == short
    assert len(set(long)) > 0.9 * len(long)  # a few end at once, and are their prompt


def test_they_come_from_the_teachers_whole_distribution(writing: Writing) -> None:
    """Its publisher's top-k of 1 would give one word after each prompt, its length three."""
    batches = islice(writer_of(writing).batches(start=0), 40)
    drawn = " ".join(record["text"] for record in chain.from_iterable(batches)).split()
    counts = {word: drawn.count(word) for word in WORDS}
    assert min(counts.values()) > 0.3 * max(counts.values())
    # A special token may be drawn, and leaves no trace; a row that is no word is never drawn.
    assert set(drawn) <= {*WORDS, "<unk>"}


def test_a_low_temperature_and_top_p_sharpen(writing: Writing) -> None:
    def first(**changes: float) -> list[Record]:
        return next(writer_of(replace(writing, **changes)).batches(start=0))  # type: ignore[arg-type]

    greedy = first(temperature=1e-4)
    assert first(top_p=1e-4) == greedy == first(temperature=1e-4, seed=0)
    assert first() != greedy


def test_a_text_ends_where_the_teacher_ends_it(writing: Writing) -> None:
    writer = writer_of(writing)
    words = [VOCABULARY[word] for word in ("goose", "flies", "home")]
    for end in ("<|endoftext|>", "<|end|>"):
        assert writer.text(torch.tensor([*words[:2], VOCABULARY[end], words[2]])) == "goose flies"
    assert writer.text(torch.tensor(words)) == "goose flies home"


def test_prompts_come_from_the_texts(writing: Writing) -> None:
    corpus = " ".join(text.text for text in documents(writing.texts[0], "train"))
    for record in next(writer_of(writing).batches(start=0)):
        assert " ".join(record["text"].split()[:3]) in " ".join(corpus.split())


def shard_of(*lengths: int) -> Shard:
    """Documents of so many tokens, each a number of its own, and a separator 0 after each."""
    tokens = [id_ for number, n in enumerate(lengths, 1) for id_ in [*[number] * n, 0]]
    starts = np.cumsum([0, *(n + 1 for n in lengths[:-1])])
    meta = ShardMeta(
        name="made", version="", split="train", tokenizer="", separator=0, dtype="uint16",
        documents=len(lengths), tokens=len(tokens), bytes=1,
    )  # fmt: skip
    return Shard(tokens_N=np.array(tokens, np.uint16), starts=starts, meta=meta)


def test_no_prompt_crosses_the_end_of_a_document() -> None:
    made = shard_of(2, 3, 9, 1, 7)
    prompts = [p.tolist() for p in islice(prompts_of([made], length=4, seed=1), 50)]
    assert {len(set(prompt)) for prompt in prompts} == {1}
    assert {prompt[0] for prompt in prompts} == {3, 5}
    again = [p.tolist() for p in islice(prompts_of([made], length=4, seed=1), 50)]
    assert again == prompts


def test_documents_too_short_for_a_prompt_are_named() -> None:
    with pytest.raises(
        DataError, match=r"prompt_tokens = 8: needs a document of 16 tokens.* has 10"
    ):
        prompts_of([shard_of(3, 9, 4)], length=8, seed=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 0.0}, r"temperature = 0\.0: must be above 0"),
        ({"temperature": math.nan}, "temperature = nan: must be above 0"),
        ({"temperature": 1e-40}, "temperature = 1e-40: must be above 0, at least 1e-06"),
        ({"top_p": 0.0}, r"top_p = 0\.0: must be above 0 and at most 1"),
        ({"top_p": 1.5}, r"top_p = 1\.5: must be"),
        ({"window": 3}, "window = 3: must be above prompt_tokens = 3"),
        ({"texts": ("sotuu",)}, "did you mean 'sotu'"),
    ],
)
def test_senseless_settings_are_named(
    writing: Writing, changes: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        replace(writing, **changes)  # type: ignore[arg-type]


def test_a_window_beyond_learned_positions_is_named(writing: Writing, tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    config = GPT2Config(vocab_size=ROWS, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    with pytest.raises(TeacherError, match=r"window = 24: .* learned positions for 16"):
        writer_of(replace(writing, model=str(folder)))
    assert next(writer_of(replace(writing, model=str(folder), window=16)).batches(start=0))
