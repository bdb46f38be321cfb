"""Examples side by side: whole, apart, and in an order that can be gone on with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.example_batches import ExampleLoader, packed
from asnn_goose.data.examples import Example, Pair
from asnn_goose.data.pair_batches import PairLoader
from asnn_goose.trace import IGNORED_LABEL

PADDING = 0


def example(prompt: int, answer: int, *, first: int = 1) -> Example:
    """Tokens that count up from `first`; the last `answer` of them are the answer."""
    ids_N = np.arange(first, first + prompt + answer)
    return Example(ids_N=ids_N, answer_N=np.arange(len(ids_N)) >= prompt, place=f"at {first}")


def several(count: int = 12) -> list[Example]:
    random = np.random.default_rng(0)
    return [
        example(int(random.integers(1, 5)), int(random.integers(1, 5)), first=100 * n + 1)
        for n in range(count)
    ]


def loader(examples: list[Example], **settings: Any) -> ExampleLoader:
    usual = {"window": 16, "batch": 2, "seed": 3, "padding": PADDING}
    return ExampleLoader(examples, **(usual | settings))


def test_no_label_is_a_prompt_s_or_a_neighbour_s_and_every_answer_comes_once() -> None:
    examples = several()
    found: list[int] = []
    source = loader(examples, batch=1)
    for _ in packed(examples, 16):
        batch = source.next(0.25)
        assert batch.progress == 0.25
        for token, label, document, before in zip(
            batch.tokens_BT[0].tolist(),
            batch.labels_BT[0].tolist(),
            batch.documents_BT[0].tolist(),
            [None, *batch.documents_BT[0].tolist()],
            strict=False,
        ):
            assert (token % 100 == 1 or token == PADDING) or before == document
            if label != IGNORED_LABEL:
                assert label == token + 1
                found.append(label)
    if source.state()["epoch"] == 0:
        wanted = [int(i) for e in examples for i in e.ids_N[1:][e.answer_N[1:]]]
        assert sorted(found) == sorted(wanted)


def test_rows_are_filled_and_hold_whole_examples() -> None:
    examples = several(60)
    rows = packed(examples, 16)
    assert sorted(e.place for row in rows for e in row) == sorted(e.place for e in examples)
    used = [sum(len(e) - 1 for e in row) for row in rows]
    assert max(used) <= 16
    assert sum(used) / (16 * len(rows)) > 0.8


def test_what_is_too_long_is_cut_and_said() -> None:
    whole, cut, lost = example(2, 3), example(4, 20, first=101), example(40, 2, first=201)
    source = loader([whole, cut, lost])
    found = source.cut
    assert (found.examples, found.shortened, found.left_out) == (3, 2, 1)
    assert (found.tokens, found.tokens_lost) == (71, 71 - 5 - 17)
    assert "2 of 3 examples are longer than the window, and 1 are left out" in str(found)
    labels = {label for _ in range(2) for label in source.next().labels_BT.unique().tolist()}
    assert max(labels) == 117
    with pytest.raises(DataError, match="no example has an answer within a window of 16"):
        loader([lost])


def test_a_restored_loader_goes_on_and_another_text_is_refused() -> None:
    one, other = loader(several()), loader(several())
    for _ in range(7):
        one.next()
    state = one.state()
    other.restore(state)
    assert state["epoch"] > 0
    for _ in range(3):
        assert one.next().tokens_BT.equal(other.next().tokens_BT)
    with pytest.raises(ValueError, match="examples 12, not 11"):
        loader(several(11)).restore(state)


def test_processes_share_the_stream() -> None:
    whole = loader(several(), batch=4)
    halves = [loader(several(), rank=rank, world=2) for rank in (0, 1)]
    both = [half.next().tokens_BT for half in halves]
    assert whole.next().tokens_BT.tolist() == [row for half in both for row in half.tolist()]


def test_pairs_stay_side_by_side_and_what_does_not_differ_is_left_out() -> None:
    def pair(first: int) -> Pair:
        return Pair(chosen=example(2, 4, first=first), rejected=example(2, 2, first=first))

    same = Pair(chosen=example(2, 30, first=901), rejected=example(2, 40, first=901))
    source = PairLoader(
        [pair(1), pair(101), pair(201), same], window=8, batch=3, seed=0, padding=PADDING
    )
    assert source.cut.left_out == 2
    batch = source.next()
    assert batch.chosen.tokens_BT[:, 0].equal(batch.rejected.tokens_BT[:, 0])
    counts = [int(side.mask_BT.sum()) for side in (batch.chosen, batch.rejected)]
    assert counts == [12, 6]


def test_no_more_pairs_are_read_than_a_stage_has_use_for() -> None:
    pairs = [
        Pair(chosen=example(2, 4, first=100 * n + 1), rejected=example(2, 2, first=100 * n + 1))
        for n in range(12)
    ]
    settings = {"window": 8, "batch": 2, "seed": 3, "padding": PADDING}
    few = PairLoader(pairs, most=4, **settings)
    assert len(few.pairs) == 4
    assert len(PairLoader(pairs, most=40, **settings).pairs) == 12
    seen = {int(token) for _ in range(6) for token in few.next().chosen.tokens_BT[:, 0]}
    assert seen == {int(pair.chosen.ids_N[0]) for pair in few.pairs}
    other = PairLoader(pairs, most=4, **(settings | {"seed": 4}))
    assert {p.chosen.place for p in other.pairs} != {p.chosen.place for p in few.pairs}
    assert few.cut.examples == 24
