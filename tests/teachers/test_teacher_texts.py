"""Texts of a teacher: in number and length as asked, from its distribution, alike for a seed."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

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
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.records import Record
from asnn_goose.data.shards import shard
from asnn_goose.model import TeacherError
from asnn_goose.recipe.run_tables import CacheTable
from asnn_goose.recipe.teacher_caches import cached
from asnn_goose.teachers.author import fill
from asnn_goose.teachers.prompt_kinds import Kind
from asnn_goose.teachers.teacher_texts import Writer, Writing
from asnn_goose.teachers.text_file import TextFile
from asnn_goose.trace import Window

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
        model=str(teacher),
        tokens=400,
        window=24,
        batch=4,
        prompt_tokens=3,
        most_repeated=1.0,
        texts=(str(text),),
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
        return next(writer_of(replace(writing, kinds=(Kind(**changes),))).batches(start=0))  # type: ignore[arg-type]

    greedy = first(temperature=1e-4)
    assert first(top_p=1e-4) == greedy
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"most_repeated": 0.0}, r"most_repeated = 0\.0: must be above 0"),
        ({"kinds": ()}, "kinds = none: name each once"),
        ({"kinds": (Kind(), Kind(share=2.0))}, "kinds = passage, passage: name each once"),
        ({"window": 3}, "window = 3: must be above prompt_tokens = 3"),
        ({"texts": ("sotuu",)}, "did you mean 'sotu'"),
    ],
)
def test_senseless_settings_are_named(writing: Writing, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(writing, **changes)


def test_kinds_come_by_their_shares_and_draw_in_their_own_way(writing: Writing) -> None:
    kinds = (Kind(name="opening", share=2.0, temperature=1e-4), Kind())
    writer = writer_of(replace(writing, kinds=kinds))
    names = [writer.kind_of(number).name for number in range(30)]
    assert names.count("opening") == 20
    assert all(abs(names[:n].count("opening") - n * 2 / 3) < 2 for n in range(30))
    first, again = (writer.drawn(0, writer.kind_of(0)) for _ in range(2))
    assert first == again == next(writer.batches(start=0))
    assert {record["kind"] for record in first} == {"opening"}
    after = {" ".join(record["text"].split()[:3]): record["text"] for record in first}
    for record in writer.drawn(1, kinds[0]):  # nothing is left to chance at that temperature
        assert after.get(" ".join(record["text"].split()[:3]), record["text"]) == record["text"]


def test_prompts_of_unequal_length_are_no_part_of_each_other(writing: Writing) -> None:
    """Padding must neither be read nor written: a text alone is the text among others."""
    one = writer_of(replace(writing, batch=1, kinds=(Kind(temperature=1e-4),)))
    both = writer_of(replace(writing, batch=2, kinds=(Kind(temperature=1e-4),)))
    prompts = [torch.tensor([2, 3, 4]), torch.tensor([5, 6, 7, 8, 9])]
    together = [""] * 2
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(both, "prompts", lambda number, kind: prompts)
        together = [record["text"] for record in both.drawn(0, both.writing.kinds[0])]
    for prompt, text in zip(prompts, together, strict=True):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(one, "prompts", lambda number, kind, own=prompt: [own])
            (alone,) = one.drawn(0, one.writing.kinds[0])
        shorter, longer = sorted((alone["text"], text), key=len)
        assert longer.startswith(shorter)
        assert len(shorter.split()) > 8


def test_texts_in_circles_are_dropped_and_counted(writing: Writing, tmp_path: Path) -> None:
    """A teacher that always says the likeliest word soon repeats itself."""
    looping = replace(writing, kinds=(Kind(temperature=1e-4),), most_repeated=0.3, tokens=60)
    (writer,) = (writer_of(looping),)
    records = next(writer.batches(start=0)) + writer.drawn(1, looping.kinds[0])
    loops = [record for record in records if "dropped" in record]
    assert loops
    assert all(record["text"] == "" for record in loops)
    assert writer.size(loops) == 0


def test_its_words_are_kept_as_training_will_ask_for_them(writing: Writing, tmp_path: Path) -> None:
    """Every window of the training split, broken off in between or not, and none that is not."""
    keeping = replace(writing, logits=16, top=4)
    file = TextFile(tmp_path / "cut.jsonl", asdict(keeping))

    def interrupt(tokens: int) -> None:
        if tokens > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(writer_of(keeping), file, advance=interrupt)
    writer = writer_of(keeping)
    fill(writer, file, advance=lambda tokens: None)
    read = shard(file.path, "train", writer.tokenizer)
    cache = cached(writer.teacher, CacheTable(top=4), tell=lambda text: None)
    loader = WindowLoader([read], window=16, batch=1, seed=0, fixed=True)
    windows = [loader.next().tokens_BT for _ in range((read.meta.tokens - 1) // 16)]
    assert len(windows) > 10
    assert sum(cache.fill(ids, frozenset({"vocab"}), window=Window()) for ids in windows) == 0
    exact = cache.trace(windows[0], frozenset({"vocab"})).top
    live = writer.teacher.trace(windows[0], frozenset({"vocab"}))
    assert exact is not None
    wanted = torch.log_softmax(live.vocab(slice(None)), -1).topk(4).values
    assert torch.allclose(exact.log_p_nK, wanted, atol=2e-2)


def test_a_rehearsal_says_what_it_would_take(writing: Writing) -> None:
    kinds = (Kind(), Kind(name="opening"))
    said = list(writer_of(replace(writing, kinds=kinds)).rehearse())
    assert [line.split(":")[0] for line in said[:2]] == ["passage", "opening"]
    assert said[2].startswith("8 of 8 texts kept (4 opening, 4 passage)")
    assert "tokens/s kept: 400 tokens in " in said[3]


def test_a_window_beyond_learned_positions_is_named(writing: Writing, tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    config = GPT2Config(vocab_size=ROWS, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    with pytest.raises(TeacherError, match=r"window = 24: .* learned positions for 16"):
        writer_of(replace(writing, model=str(folder)))
    assert next(writer_of(replace(writing, model=str(folder), window=16)).batches(start=0))
