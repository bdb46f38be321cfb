"""Windows come from every corpus by its weight, once an epoch, and go on after a restore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch

from asnn_goose.data.document import DataError
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.data.shards import Shard
from asnn_goose.trace import Batch

MakeShard = Callable[..., Shard]
SETTINGS: dict[str, Any] = {"weights": (6, 3, 1), "window": 10, "batch": 3, "seed": 5}


@pytest.fixture
def three(make_shard: MakeShard) -> list[Shard]:
    """Shards whose tokens tell which they are: from 0, from 1000 and from 2000 on."""
    return [make_shard(size, first=1_000 * n) for n, size in enumerate((205, 305, 155))]


def take(loader: MixtureLoader, count: int) -> list[Batch]:
    return [loader.next() for _ in range(count)]


def rows(batches: list[Batch]) -> list[list[int]]:
    return [row for batch in batches for row in batch.tokens_BT.tolist()]


def test_batch_is_like_that_of_a_window_loader(three: list[Shard]) -> None:
    batch = MixtureLoader(three, **SETTINGS).next(0.25)
    for ids in (batch.tokens_BT, batch.labels_BT, batch.documents_BT):
        assert ids.shape == (3, 10)
        assert ids.dtype == torch.int64
        assert ids.is_contiguous()
    assert batch.progress == 0.25
    assert torch.equal(batch.labels_BT, batch.tokens_BT + 1)


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_every_corpus_keeps_its_share_at_any_time(three: list[Shard], seed: int) -> None:
    loader = MixtureLoader(three, **SETTINGS | {"batch": 1, "seed": seed})
    found: Counter[int] = Counter()
    for number in range(1, 400):
        found[rows([loader.next()])[0][0] // 1_000] += 1
        for corpus, weight in enumerate(SETTINGS["weights"]):
            assert abs(found[corpus] - number * weight / 10) < 4


def test_no_window_comes_twice_in_an_epoch_of_its_corpus(three: list[Shard]) -> None:
    loader = MixtureLoader(three, **SETTINGS | {"batch": 1})
    seen: dict[tuple[int, int], list[int]] = {}
    for _ in range(200):
        [row] = rows([loader.next()])
        corpus = row[0] // 1_000
        seen.setdefault((corpus, loader.state()[f"{corpus}.epoch"]), []).extend(row)
    assert len(seen) > 7
    for tokens in seen.values():
        assert len(set(tokens)) == len(tokens)
    # A whole epoch reads all but the edges of its text.
    assert len(seen[0, 0]) >= 190


def test_documents_are_numbered_over_all_corpora(three: list[Shard]) -> None:
    # Documents of 10 tokens: 21 in the first text, 31 in the second.
    for batch in take(MixtureLoader(three, **SETTINGS), 20):
        corpus, place = batch.tokens_BT // 1_000, batch.tokens_BT % 1_000
        assert torch.equal(batch.documents_BT, torch.tensor([0, 21, 52])[corpus] + place // 10)


def test_seed_fixes_the_stream(three: list[Shard]) -> None:
    def first_rows(seed: int) -> list[list[int]]:
        return rows(take(MixtureLoader(three, **SETTINGS | {"seed": seed}), 20))

    assert first_rows(3) == first_rows(3)
    assert first_rows(3) != first_rows(4)


@pytest.mark.parametrize("steps", [0, 1, 25])
def test_restore_goes_on_exactly(three: list[Shard], steps: int) -> None:
    loader = MixtureLoader(three, **SETTINGS)
    take(loader, steps)
    state = loader.state()
    assert all(type(value) is int for value in state.values())
    expected = take(loader, 20)
    other = MixtureLoader(three, **SETTINGS)
    take(other, 7)
    other.restore(state)
    assert other.state() == state
    for batch, again in zip(expected, take(other, 20), strict=True):
        assert torch.equal(batch.tokens_BT, again.tokens_BT)
        assert torch.equal(batch.documents_BT, again.documents_BT)


def test_ranks_share_the_stream_and_no_window(three: list[Shard]) -> None:
    whole = MixtureLoader(three, **SETTINGS | {"batch": 6})
    ranks = [
        MixtureLoader(three, **SETTINGS | {"batch": 2}, rank=rank, world=3) for rank in range(3)
    ]
    for _ in range(3):
        parts = [rows([loader.next()]) for loader in ranks]
        assert [*chain(*parts)] == rows([whole.next()])
        assert len({tuple(row) for part in parts for row in part}) == 6
    assert len({tuple(loader.state().items()) for loader in ranks}) == 1
    whole.restore(ranks[0].state())
    assert rows([whole.next()])[2:4] == rows([ranks[1].next()])


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"seed": 6}, "seed 5, not 6"),
        ({"window": 11}, "window 10, not 11"),
        ({"weights": (3, 6, 1)}, "0.weight_in_millionths 600000, not 300000"),
    ],
)
def test_state_of_another_stream_is_refused(
    three: list[Shard], changed: dict[str, Any], setting: str
) -> None:
    state = MixtureLoader(three, **SETTINGS).state()
    with pytest.raises(ValueError, match=setting):
        MixtureLoader(three, **SETTINGS | changed).restore(state)


def test_state_of_a_window_loader_is_refused(three: list[Shard]) -> None:
    state = WindowLoader(three, window=10, batch=3, seed=5).state()
    with pytest.raises(ValueError, match="taken with corpora None, not 3"):
        MixtureLoader(three, **SETTINGS).restore(state)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"weights": (1, 2)}, r"weights = \[1, 2\]: must be one for each of 3 texts"),
        ({"weights": (1, 0, 1)}, "weight = 0: must be above 0; leave the text out instead"),
        ({"weights": (1, float("nan"), 1)}, "weight = nan: must be above 0"),
        ({"batch": 0}, "batch is 0, wanted at least 1"),
        ({"rank": 2, "world": 2}, "rank is 2, wanted 0 to 1"),
        ({"seed": -1}, "seed is -1, wanted 0 or more"),
        ({"window": 500}, "has 205 tokens, but a window of 500"),
    ],
)
def test_wrong_settings_are_named(three: list[Shard], changed: dict[str, Any], fault: str) -> None:
    with pytest.raises((ValueError, DataError), match=fault):
        MixtureLoader(three, **SETTINGS | changed)
    with pytest.raises(DataError, match="no text to load"):
        MixtureLoader([], **SETTINGS)
