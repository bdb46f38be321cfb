"""Batches are fixed by the seed, go on exactly after a restore, and are shared by no two ranks."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asnn_goose.data.document import DataError
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.shards import Shard
from asnn_goose.trace import Batch

MakeShard = Callable[..., Shard]


@pytest.fixture
def pair(make_shard: MakeShard) -> list[Shard]:
    """Two shards whose tokens tell where they stand: 0 to 204, and 1000 to 1102."""
    return [make_shard(205), make_shard(103, first=1_000, length=25)]


def take(loader: WindowLoader, count: int) -> list[Batch]:
    return [loader.next() for _ in range(count)]


def rows(batches: list[Batch]) -> list[list[int]]:
    return [row for batch in batches for row in batch.tokens_BT.tolist()]


def test_batch_is_windows_and_their_next_tokens(pair: list[Shard]) -> None:
    batch = WindowLoader(pair, window=10, batch=4, seed=0).next(0.25)
    for ids in (batch.tokens_BT, batch.labels_BT, batch.documents_BT):
        assert ids.shape == (4, 10)
        assert ids.dtype == torch.int64
        assert ids.is_contiguous()
    assert batch.progress == 0.25
    assert torch.equal(batch.labels_BT, batch.tokens_BT + 1)
    assert torch.equal(batch.tokens_BT.diff(dim=1), torch.ones(4, 9, dtype=torch.int64))
    assert batch.mask_BT.all()


def test_documents_are_numbered_over_all_shards(pair: list[Shard]) -> None:
    # Documents of 10 tokens in the first shard (21 of them), of 25 in the second.
    for batch in take(WindowLoader(pair, window=15, batch=3, seed=1), 10):
        ids = batch.tokens_BT
        expected = torch.where(ids < 1_000, ids // 10, 21 + (ids - 1_000) // 25)
        assert torch.equal(batch.documents_BT, expected)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(window=st.integers(1, 102), seed=st.integers(0, 2**40))
def test_epoch_reads_every_window_once_and_crosses_no_border(
    window: int, seed: int, pair: list[Shard]
) -> None:
    loader = WindowLoader(pair, window=window, batch=1, seed=seed)
    found = []
    while loader.state()["epoch"] == 0:
        found.append(loader.next())
    found.pop()  # the first window of the next epoch
    tokens = sorted(token for row in rows(found) for token in row)
    assert len(set(tokens)) == len(tokens)
    for size, first in ((205, 0), (103, 1_000)):
        mine = [token for token in tokens if first <= token < first + size]
        # One block without holes: less than a window is lost at each end, and the last label.
        assert mine == list(range(mine[0], mine[-1] + 1))
        assert mine[0] - first < window
        assert first + size - 1 - mine[-1] <= window


def test_seed_fixes_the_order(pair: list[Shard]) -> None:
    def first_rows(seed: int) -> list[list[int]]:
        return rows(take(WindowLoader(pair, window=10, batch=3, seed=seed), 20))

    assert first_rows(3) == first_rows(3)
    assert first_rows(3) != first_rows(4)


def test_epochs_differ_in_order_and_offset(pair: list[Shard]) -> None:
    loader = WindowLoader(pair, window=10, batch=1, seed=0)
    epochs: list[list[list[int]]] = [[] for _ in range(6)]
    for _ in range(150):
        batch = loader.next()
        epochs[loader.state()["epoch"]].extend(rows([batch]))
    whole = [found for found in epochs if len(found) > 20]
    assert len(whole) >= 5
    assert len({min(row[0] for row in found) for found in whole}) > 2
    assert all(found != sorted(found) for found in whole)


@pytest.mark.parametrize("steps", [0, 1, 9, 10, 11, 40])
def test_restore_goes_on_exactly(pair: list[Shard], steps: int) -> None:
    # About 29 windows an epoch: batches of 3 cross its border at the tenth step.
    settings: dict[str, Any] = {"window": 10, "batch": 3, "seed": 5}
    loader = WindowLoader(pair, **settings)
    take(loader, steps)
    state = loader.state()
    expected = take(loader, 25)
    other = WindowLoader(pair, **settings)
    take(other, 3)
    other.restore(state)
    assert other.state() == state
    for batch, again in zip(expected, take(other, 25), strict=True):
        assert torch.equal(batch.tokens_BT, again.tokens_BT)
        assert torch.equal(batch.labels_BT, again.labels_BT)
        assert torch.equal(batch.documents_BT, again.documents_BT)


def test_state_is_plain_numbers(pair: list[Shard]) -> None:
    state = WindowLoader(pair, window=10, batch=3, seed=5).state()
    assert all(type(value) is int for value in state.values())


@pytest.mark.parametrize(
    ("changed", "setting"), [({"seed": 6}, "seed 5, not 6"), ({"window": 11}, "window 10, not 11")]
)
def test_state_of_another_stream_is_refused(
    pair: list[Shard], changed: dict[str, int], setting: str
) -> None:
    settings: dict[str, Any] = {"window": 10, "batch": 3, "seed": 5}
    state = WindowLoader(pair, **settings).state()
    with pytest.raises(ValueError, match=setting):
        WindowLoader(pair, **settings | changed).restore(state)
    with pytest.raises(ValueError, match="data_tokens 308, not 205"):
        WindowLoader(pair[:1], **settings).restore(state)


def test_ranks_share_the_stream_and_no_window(pair: list[Shard]) -> None:
    whole = WindowLoader(pair, window=10, batch=6, seed=2)
    ranks = [WindowLoader(pair, window=10, batch=2, seed=2, rank=r, world=3) for r in range(3)]
    for _ in range(4):
        parts = [rows([loader.next()]) for loader in ranks]
        assert [*chain(*parts)] == rows([whole.next()])
        assert len({tuple(row) for part in parts for row in part}) == 6
    assert len({tuple(loader.state().items()) for loader in ranks}) == 1
    # The stream goes on for another number of processes.
    whole.restore(ranks[0].state())
    assert rows([whole.next()])[2:4] == rows([ranks[1].next()])


def test_batch_larger_than_an_epoch_goes_on_in_the_next(make_shard: MakeShard) -> None:
    loader = WindowLoader([make_shard(21)], window=10, batch=50, seed=0)
    assert loader.next().tokens_BT.shape == (50, 10)
    assert loader.state()["epoch"] > 20


def test_shortest_text_gives_its_only_window(make_shard: MakeShard) -> None:
    loader = WindowLoader([make_shard(11)], window=10, batch=1, seed=0)
    assert rows(take(loader, 3)) == [[*range(10)]] * 3


def test_text_shorter_than_a_window_is_named(make_shard: MakeShard) -> None:
    with pytest.raises(DataError, match=r"counting \(train\) has 10 tokens.* 10 needs 11"):
        WindowLoader([make_shard(100), make_shard(10)], window=10, batch=1, seed=0)
    with pytest.raises(DataError, match="no text to load"):
        WindowLoader([], window=10, batch=1, seed=0)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"window": 0}, "window is 0, wanted at least 1"),
        ({"batch": 0}, "batch is 0, wanted at least 1"),
        ({"world": 0}, "world is 0, wanted at least 1"),
        ({"rank": 2, "world": 2}, "rank is 2, wanted 0 to 1"),
        ({"seed": -1}, "seed is -1, wanted 0 or more"),
    ],
)
def test_impossible_settings_are_named(
    pair: list[Shard], changed: dict[str, int], fault: str
) -> None:
    settings: dict[str, Any] = {"window": 10, "batch": 3, "seed": 5}
    with pytest.raises(ValueError, match=fault):
        WindowLoader(pair, **settings | changed)


def test_fixed_windows_come_again_in_every_epoch(pair: list[Shard]) -> None:
    fixed = [
        rows(take(WindowLoader(pair, window=10, batch=1, seed=s, fixed=True), 60)) for s in (0, 1)
    ]
    # 20 and 10 whole windows fit, from the first token on.
    starts = sorted([*range(0, 200, 10), *range(1_000, 1_100, 10)])
    for found in fixed:
        assert sorted(row[0] for row in found[:30]) == starts
        assert sorted(found[30:]) == sorted(found[:30])
        assert found[30:] != found[:30]
    assert fixed[0] != fixed[1]
