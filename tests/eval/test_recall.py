"""Recall: texts that ask what they should, models that remember and models that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from asnn_goose.eval.readers.reader import Read
from asnn_goose.eval.readers.torch_reader import TorchReader
from asnn_goose.eval.recall import (
    DISTANCES,
    TASKS,
    by_task,
    recall,
    rows_at,
    rows_of,
    tokens_read,
)
from asnn_goose.infer.text import Vocabulary


def earlier(ids: list[int], place: int, distance: int) -> bool:
    """Whether the word at a place stood right after the same word once before, far enough back."""
    return any(
        ids[n - 1 : n + 1] == ids[place - 1 : place + 1] for n in range(1, place - distance // 2)
    )


@pytest.mark.parametrize("task", ["copy", "induction", "association"])
@pytest.mark.parametrize("distance", [64, 512])
def test_what_is_asked_stood_before(task: str, distance: int, vocabulary: Vocabulary) -> None:
    for row in rows_of(task, vocabulary, distance, seed=1):
        assert row.asked
        assert max(row.asked) < len(row.ids)
        assert all(earlier(row.ids, place, distance) for place in row.asked)
        assert 256 not in row.ids


def test_distances_are_what_they_say(vocabulary: Vocabulary) -> None:
    for row in rows_of("induction", vocabulary, 128, seed=0):
        for place in row.asked:
            assert row.ids[place - 128] == row.ids[place]
            assert row.ids[place - 129] == row.ids[place - 1]
            # Nowhere else: a shorter way to the answer would be another task.
            assert row.ids[: place - 1].count(row.ids[place - 1]) == 1
    for row in rows_of("copy", vocabulary, 128, seed=0):
        assert row.ids[128:] == row.ids[: len(row.ids) - 128]
    for row in rows_of("association", vocabulary, 128, seed=0):
        keys = row.ids[:16:2]
        assert sorted(row.ids[128::2]) == sorted(keys)
        assert row.ids[128::2] != keys or row.ids[129::2] != row.ids[1:16:2]


def test_a_passkey_is_asked_for_in_words(vocabulary: Vocabulary) -> None:
    (row, *_) = rows_of("passkey", vocabulary, 256, seed=0)
    text = vocabulary.core.decode(row.ids)
    key = vocabulary.core.decode([row.ids[place] for place in row.asked]).strip()
    assert len(key.split()) == 5
    assert f"The pass key is {key}. Remember it" in text
    assert text.endswith(f"What is the pass key? The pass key is {key}")


def test_rows_are_seeded(vocabulary: Vocabulary) -> None:
    one, same, other = (
        [row.ids for row in rows_of("copy", vocabulary, 64, seed=seed)] for seed in (3, 3, 4)
    )
    assert one == same != other
    assert [rows_at(distance) for distance in DISTANCES] == [16, 16, 16, 8, 4, 2, 2, 2, 2]


class Memory:
    """Knows what came after a word, if that was no more than `span` tokens ago."""

    name = "memory"

    def __init__(self, vocabulary: Vocabulary, *, span: int, reach: int | None = None) -> None:
        self.vocabulary, self.span, self.reach = vocabulary, span, reach

    def read(self, ids: Sequence[int]) -> Iterator[Read]:
        known = []
        for place in range(1, len(ids)):
            start = max(1, place - self.span)
            before = [ids[n] for n in range(start, place) if ids[n - 1] == ids[place - 1]]
            known.append(bool(before) and before[-1] == ids[place])
        hits = np.array(known)
        yield Read(np.where(hits, 0.0, 5.0), hits)


def test_a_memory_of_some_span_recalls_so_far(vocabulary: Vocabulary) -> None:
    reader: Any = Memory(vocabulary, span=200)
    tasks = ("copy", "induction", "association")
    found = by_task(recall(reader, tasks=tasks, distances=(64, 128, 256)))
    for task in tasks:
        right = [row.right for row in found[task]]
        assert right[:2] == [1.0, 1.0]
        assert right[2] < 0.2
        assert [row.nats for row in found[task]][:2] == [0.0, 0.0]


def test_a_teacher_is_asked_as_far_as_it_reaches(vocabulary: Vocabulary) -> None:
    reader: Any = Memory(vocabulary, span=1000, reach=200)
    found = recall(reader, tasks=("copy", "induction"), distances=(64, 128, 256))
    assert [(row.task, row.distance) for row in found] == [
        ("copy", 64),
        ("copy", 128),
        ("induction", 64),
        ("induction", 128),
    ]


def test_a_model_without_sense_recalls_nothing(student_reader: TorchReader) -> None:
    told: list[int] = []
    found = recall(student_reader, distances=(64,), advance=told.append)
    assert [row.task for row in found] == list(TASKS)
    assert all(row.right < 0.3 for row in found)
    assert sum(told) == tokens_read(student_reader.vocabulary, tuple(TASKS), (64,))
