"""No training document shares thirteen words with an evaluation text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from asnn_goose.data import corpora, decontaminate
from asnn_goose.data.corpora import Corpus
from asnn_goose.data.decontaminate import (
    WORDS,
    Held,
    decontaminated,
    held,
    overlaps,
    words_of,
)
from asnn_goose.data.document import DataError, Document
from asnn_goose.data.shards import Shard, shard

ALPHABET = [f"w{number}" for number in range(1000)]


def some_words(count: int, seed: int) -> list[str]:
    return random.Random(seed).choices(ALPHABET, k=count)


@pytest.fixture
def evaluated(tmp_path: Path) -> tuple[Path, list[str]]:
    """An evaluation text of random words, and the words."""
    words = some_words(400, seed=0)
    file = tmp_path / "evaluated.txt"
    file.write_text(" ".join(words))
    return file, words


def shown(*texts: str) -> list[Document]:
    return [Document(id=f"{n}", group=f"{n}", text=text) for n, text in enumerate(texts)]


@pytest.mark.parametrize("start", [0, 137, 400 - WORDS])
def test_thirteen_words_in_a_row_are_found_anywhere(
    evaluated: tuple[Path, list[str]], start: int
) -> None:
    file, words = evaluated
    run = words[start : start + WORDS]
    beside = some_words(50, seed=1)
    texts = shown(
        " ".join(beside + run[1:] + beside),
        " ".join(beside + run[:-1] + beside),
        " ".join(beside + run + beside),
        " ".join(run),
        " ".join([*run[:6], "between", *run[6:]]),
    )
    found = list(overlaps(texts, held([(str(file), "all")])))
    assert [overlap.number for overlap in found] == [2, 3]
    assert {overlap.words for overlap in found} == {" ".join(run)}
    assert {overlap.text for overlap in found} == {str(file)}


def test_case_and_punctuation_do_not_hide_it(evaluated: tuple[Path, list[str]]) -> None:
    file, words = evaluated
    run = words[20 : 20 + WORDS]
    hidden = "(" + " -- ".join(word.upper() for word in run[:7]) + ",\n" + "; ".join(run[7:]) + ")!"
    assert len(list(overlaps(shown(hidden), held([(str(file), "all")])))) == 1


def test_punctuation_parts_words_as_spaced_texts_do() -> None:
    # WikiText writes "do n't" and "well @-@ known"; other texts do not.
    assert words_of("The well-known man, I'm sure") == words_of(
        "the well @-@ known man , I 'm sure"
    )


def test_every_named_text_counts_and_is_told_apart(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(" ".join(some_words(100, seed=number)))
    against = held([(str(file), "all") for file in files])
    texts = shown(*(" ".join(some_words(100, seed=seed)[:40]) for seed in (2, 7, 0)))
    found = [(overlap.number, overlap.text) for overlap in overlaps(texts, against)]
    assert found == [(0, str(files[2])), (2, str(files[0]))]


def test_every_string_of_a_record_counts_by_itself(tmp_path: Path) -> None:
    question, answer, other = (some_words(20, seed=seed) for seed in (1, 2, 3))
    record = {"question": " ".join(question), "choices": [{"text": " ".join(answer)}], "label": 3}
    file = tmp_path / "task.jsonl"
    file.write_text(json.dumps(record) + "\n\n" + json.dumps({"question": " ".join(other)}) + "\n")
    across = " ".join(question[-7:] + answer[:7])
    texts = shown(*(" ".join(words) for words in (question, answer, other)), across)
    found = overlaps(texts, held([(str(file), "all")]))
    assert [overlap.number for overlap in found] == [0, 1, 2]


@pytest.mark.parametrize("line", [b'{"text": "cut', b"\xff\xfe{", b"[" * 100_000, b"[1]"])
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "task.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"text": "a \xe2\x80\xa8 b"}\n' + line)
    with pytest.raises(DataError, match=r"task\.jsonl, line 2"):
        held([(str(file), "all")])


def test_words_in_another_order_are_other_words(evaluated: tuple[Path, list[str]]) -> None:
    file, words = evaluated
    run = words[50 : 50 + WORDS]
    texts = shown(" ".join(reversed(run)), " ".join([run[1], run[0], *run[2:]]), " ".join(run))
    found = overlaps(texts, held([(str(file), "all")]))
    assert [overlap.number for overlap in found] == [2]


def test_short_texts_overlap_with_nothing(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text(" ".join(ALPHABET[: WORDS - 1]))
    against = held([(str(file), "all")])
    assert list(overlaps(shown(" ".join(ALPHABET[:WORDS]), "short"), against)) == []
    assert list(overlaps(shown(" ".join(ALPHABET)), held([]))) == []


@pytest.fixture
def leaking(
    evaluated: tuple[Path, list[str]],
    make_corpus: Callable[..., Corpus],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, Held, set[int]]:
    """A corpus of which some training documents quote the evaluation text, and which they are."""
    file, words = evaluated
    texts = [" ".join(some_words(60, seed=seed)) for seed in range(10, 90)]
    quoting = {3, 17, 18, 40}
    for number in quoting:
        texts[number] += " " + " ".join(words[number : number + WORDS])
    corpus = make_corpus("leaking", shown(*texts))
    monkeypatch.setitem(corpora.CORPORA, "leaking", corpus)
    return "leaking", held([(str(file), "all")]), quoting


def documents_in(made: Shard, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    parts = np.split(np.asarray(made.tokens_N, np.int64), made.starts[1:])
    return [tokenizer.decode(part[:-1].tolist()) for part in parts]


def test_overlapping_documents_are_cut_out_of_the_shard(
    leaking: tuple[str, Held, set[int]], tokenizer: PreTrainedTokenizerFast
) -> None:
    name, against, quoting = leaking
    whole = shard(name, "train", tokenizer)
    kept, left_out = decontaminated(whole, name, against)
    trained = list(corpora.documents(name, "train"))
    wanted = [d.text for d in trained if int(d.id) not in quoting]
    assert 0 < len(wanted) < len(trained)
    assert documents_in(kept, tokenizer) == wanted
    assert {int(overlap.id) for overlap in left_out} == {
        int(d.id) for d in trained if int(d.id) in quoting
    }
    assert kept.meta.documents == len(kept.starts) == len(wanted)
    assert kept.meta.tokens == len(kept.tokens_N)
    assert kept.meta.bytes == sum(len(text.encode()) for text in wanted)
    assert kept.meta.checked == against.identity
    assert all(part[-1] == kept.meta.separator for part in np.split(kept.tokens_N, kept.starts[1:]))


def test_clean_shard_is_left_as_it_is(
    leaking: tuple[str, Held, set[int]], tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(" ".join(some_words(300, seed=5)))
    whole = shard(leaking[0], "train", tokenizer)
    assert decontaminated(whole, leaking[0], held([(str(other), "all")])) == (whole, [])


def test_search_is_done_once_for_one_pair_of_texts(
    leaking: tuple[str, Held, set[int]],
    evaluated: tuple[Path, list[str]],
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, against, _ = leaking
    whole = shard(name, "train", tokenizer)
    _, first = decontaminated(whole, name, against)
    searched = []
    real = decontaminate.overlaps
    monkeypatch.setattr(decontaminate, "overlaps", lambda *a: searched.append(a) or real(*a))
    assert decontaminated(whole, name, against)[1] == first
    assert searched == []
    evaluated[0].write_text("something else")
    assert decontaminated(whole, name, held([(str(evaluated[0]), "all")]))[1] == []
    assert len(searched) == 1


def test_text_of_which_nothing_is_left_is_named(
    evaluated: tuple[Path, list[str]], tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text(
        "".join(json.dumps({"text": " ".join(evaluated[1]) + f" {n}"}) + "\n" for n in range(50))
    )
    whole = shard(str(own), "train", tokenizer)
    with pytest.raises(DataError, match=r"every document shares 13 words .*evaluated\.txt"):
        decontaminated(whole, str(own), held([(str(evaluated[0]), "all")]))
