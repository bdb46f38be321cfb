"""Epochs shorter than the texts: the same batches in the same order, wherever it was broken off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asnn_goose.data.again import Again
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.data.shards import Shard

MakeShard = Callable[..., Shard]


@pytest.fixture(params=["one text", "a mixture"])
def inner_of(request: pytest.FixtureRequest, make_shard: MakeShard) -> Callable[[], Any]:
    shards = [make_shard(205), make_shard(103, first=1_000)]
    if request.param == "one text":
        return lambda: WindowLoader(shards, window=10, batch=2, seed=3)
    return lambda: MixtureLoader(shards, weights=[1, 2], window=10, batch=2, seed=3)


def rows(loader: Any, count: int) -> list[list[list[int]]]:
    return [loader.next(0.5).tokens_BT.tolist() for _ in range(count)]


def test_the_first_batches_come_again_and_again(inner_of: Callable[[], Any]) -> None:
    first = rows(inner_of(), 3)
    assert rows(Again(inner_of(), batches=3), 8) == [*first, *first, *first[:2]]
    assert first[0] != first[1]


@pytest.mark.parametrize("broken_after", [0, 2, 3, 4])
def test_it_goes_on_where_it_was(broken_after: int, inner_of: Callable[[], Any]) -> None:
    whole = rows(Again(inner_of(), batches=3), 8)
    begun = Again(inner_of(), batches=3)
    rows(begun, broken_after)
    again = Again(inner_of(), batches=3)
    again.restore(begun.state())
    assert rows(again, 8 - broken_after) == whole[broken_after:]


def test_another_number_of_batches_is_another_stream(inner_of: Callable[[], Any]) -> None:
    state = Again(inner_of(), batches=3).state()
    with pytest.raises(ValueError, match="with batches 3, not 4"):
        Again(inner_of(), batches=4).restore(state)
    assert Again(inner_of(), batches=3).next(0.25).progress == 0.25
