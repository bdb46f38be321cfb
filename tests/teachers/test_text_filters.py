"""What is dropped of a teacher's texts, why, and how it is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asnn_goose.data.decontaminate import held
from asnn_goose.data.own_text import read_own
from asnn_goose.teachers.text_filters import EMPTY, LOOP, OVERLAP, Filter, repeated, summary

SEEN = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


@pytest.fixture
def sieve(tmp_path: Path) -> Filter:
    file = tmp_path / "evaluated.jsonl"
    file.write_text(json.dumps({"text": f"Before it. {SEEN}, and after."}))
    return Filter(most_repeated=0.3, held=held([(str(file), "all")]))


def test_runs_that_stood_before() -> None:
    assert repeated([1, 2, 3]) == 0
    assert repeated([1, 2, 3, 4, 9, 1, 2, 3, 4]) == pytest.approx(1 / 6)
    assert repeated([1, 2, 1, 2, 1, 2, 1], run=2) == pytest.approx(4 / 6)


def test_each_fault_is_named(sieve: Filter) -> None:
    fine = list(range(100))
    assert sieve.fault("the goose flies", fine) is None
    assert sieve.fault("the goose flies", [1, 2, 3, 4, 5] * 9) == LOOP
    assert sieve.fault("  ", fine) == EMPTY
    assert sieve.fault(f"he counts {SEEN.upper()} geese", fine) == OVERLAP
    assert sieve.fault(SEEN.rsplit(" ", 2)[0], fine) is None  # twelve of them


def test_the_file_keeps_a_line_for_what_is_dropped(sieve: Filter, tmp_path: Path) -> None:
    """So that batches stay whole; readers pass over it."""
    said = ("a goose", "round and round", "the end")
    ids = ([1, 2, 3], [1, 2] * 9, [4, 5])
    records = [sieve.record(*row, kind="title") for row in zip(said, ids, strict=True)]
    assert records[1] == {"text": "", "kind": "title", "dropped": LOOP}
    assert records[2] == {"text": "the end", "kind": "title"}
    text = "".join(f"{record}\n" for record in records).replace("'", '"')
    (tmp_path / "own.jsonl").write_text(text)
    assert [d.text for d in read_own(tmp_path / "own.jsonl", "all")] == ["a goose", "the end"]
    told = summary([*records, {"text": "x", "kind": "passage"}])
    assert told == ("3 of 4 texts kept (1 passage, 2 title); 1 dropped: 1 repeats itself")
