"""Windows of repeats: what each kind holds, and that the stream is fixed and goes on exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.repeat_kinds import KINDS, SHORTEST, RepeatSource, made
from asnn_goose.data.repeats import RepeatLoader, Repeats, repeated, vocabulary
from asnn_goose.data.shards import Shard
from asnn_goose.trace import IGNORED_LABEL, Batch

MakeShard = Callable[..., Shard]
TEXT = np.arange(10_000, 10_512)
WORDS = np.arange(500)


def source(seed: int = 0, *, distance: int = 64) -> RepeatSource:
    return RepeatSource(
        random=np.random.default_rng(seed), text_N=TEXT, words_W=WORDS, distance=distance
    )


def pairs_seen(ids: np.ndarray[Any, Any]) -> float:
    """Share of the tokens that end a pair which stood before."""
    seen, found = set(), 0
    for pair in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        found += pair in seen
        seen.add(pair)
    return found / (len(ids) - 1)


def distances(ids: np.ndarray[Any, Any]) -> list[int]:
    """From every token to the one like it that stood last before it."""
    last: dict[int, int] = {}
    found = []
    for place, token in enumerate(ids.tolist()):
        if token in last:
            found.append(place - last[token])
        last[token] = place
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_the_window_and_repeats(kind: str) -> None:
    ids = made(kind, source(), length=513)
    assert ids.shape == (513,)
    assert ids.dtype == np.int64
    assert pairs_seen(ids) > 0.1
    assert set(ids.tolist()) <= set(WORDS.tolist()) | set(TEXT.tolist())


def test_a_label_is_repeated_where_its_pair_stood_before() -> None:
    ids = np.array([1, 2, 3, 1, 2, 2, 2, 3])
    assert repeated(ids).tolist() == [False, False, False, True, False, True, True]
    for kind in KINDS:
        ids = made(kind, source(), length=513)
        assert repeated(ids).mean() == pytest.approx(pairs_seen(ids))


@pytest.mark.parametrize("kind", ["words", "paragraphs"])
@pytest.mark.parametrize("distance", [16, 200])
def test_a_block_comes_again_within_the_distance(kind: str, distance: int) -> None:
    # Words that cannot come twice by chance, so that every repeat is meant.
    wide = RepeatSource(
        random=np.random.default_rng(1),
        text_N=np.arange(4_000_000, 4_100_000),
        words_W=np.arange(4_000_000),
        distance=distance,
    )
    found = distances(made(kind, wide, length=2_000))
    assert min(found) >= SHORTEST
    assert max(found) <= distance
    assert max(found) > distance / 2
    assert len(found) > 400


def test_running_text_stays_in_order_around_names() -> None:
    ids = made("names", source(), length=400)
    text = ids[ids >= 10_000]
    assert np.array_equal(text, TEXT[: len(text)])
    cast = ids[ids < 10_000]
    assert max(Counter(cast.tolist()).values()) >= 3


def test_pairs_are_asked_in_another_order_with_their_own_values() -> None:
    few = RepeatSource(
        random=np.random.default_rng(3), text_N=TEXT, words_W=np.arange(10**6), distance=60
    )
    ids = made("pairs", few, length=100).tolist()
    joint, keys = ids[1], {}
    for place in (i for i, token in enumerate(ids[:-1]) if token == joint):
        keys.setdefault(ids[place - 1], []).append(ids[place + 1])
    told = [values for values in keys.values() if len(values) > 1]
    assert told
    assert all(len(set(values)) == 1 for values in told)


@pytest.fixture
def loader(make_shard: MakeShard) -> Callable[..., RepeatLoader]:
    def make(*, world: int = 1, rank: int = 0, batch: int = 2, **settings: Any) -> RepeatLoader:
        shard = make_shard(4_000)
        windows = WindowLoader([shard], window=64, batch=batch, seed=5, world=world, rank=rank)
        chosen = Repeats(**({"share": (0.5, 0.5), "distance": (32, 32)} | settings))
        words = vocabulary([shard])
        return RepeatLoader(windows, chosen, words_W=words, seed=5, world=world, rank=rank)

    return make


def running(batch: Batch) -> list[bool]:
    """Which rows count up, as the text does."""
    return (batch.tokens_BT.diff(dim=1) == 1).all(dim=1).tolist()


def test_labels_are_the_next_tokens_and_a_repeat_is_one_document(
    loader: Callable[..., RepeatLoader],
) -> None:
    batches = [loader().next() for _ in range(1)] + [loader(share=(1.0, 1.0)).next()]
    for batch in batches:
        assert torch.equal(batch.tokens_BT[:, 1:], batch.labels_BT[:, :-1])
        assert batch.tokens_BT.dtype == batch.labels_BT.dtype == torch.int64
    assert (batches[1].documents_BT == batches[1].documents_BT[:, :1]).all()
    assert not any(running(batches[1]))


def test_alone_what_repeats_counts(loader: Callable[..., RepeatLoader]) -> None:
    whole, alone = loader(), loader(alone=True)
    for _ in range(4):
        expected, found = whole.next(), alone.next()
        assert torch.equal(expected.tokens_BT, found.tokens_BT)
        for row, is_text in enumerate(running(expected)):
            ids = torch.cat((expected.tokens_BT[row], expected.labels_BT[row, -1:])).numpy()
            counts = (
                torch.ones(64, dtype=torch.bool) if is_text else torch.from_numpy(repeated(ids))
            )
            wanted = expected.labels_BT[row].where(counts, torch.tensor(IGNORED_LABEL))
            assert torch.equal(found.labels_BT[row], wanted)


def test_a_window_without_repeats_counts_whole(
    loader: Callable[..., RepeatLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(kind: str, source: RepeatSource, *, length: int) -> Any:
        return np.arange(length)

    monkeypatch.setattr("asnn_goose.data.repeats.made", never)
    found = loader(share=(1.0, 1.0), alone=True).next()
    assert torch.equal(found.labels_BT, found.tokens_BT + 1)


def test_share_rises_over_the_stage(loader: Callable[..., RepeatLoader]) -> None:
    rising = loader(share=(0.0, 1.0))
    assert all(flag for _ in range(20) for flag in running(rising.next(0.0)))
    middle = [flag for _ in range(200) for flag in running(rising.next(0.5))]
    assert 0.4 < sum(middle) / len(middle) < 0.6
    assert not any(flag for _ in range(20) for flag in running(rising.next(1.0)))


def test_distance_rises_over_the_stage(loader: Callable[..., RepeatLoader]) -> None:
    rising = loader(share=(1.0, 1.0), distance=(8, 48), kinds=("words",))

    def longest(done: float) -> int:
        rows = [row for _ in range(20) for row in rising.next(done).tokens_BT.numpy()]
        # Pairs of words, which do not come twice by chance.
        return max(max(distances(row[:-1] * 10_000 + row[1:]), default=0) for row in rows)

    assert longest(0.0) == SHORTEST
    assert longest(1.0) > 40


def test_stream_goes_on_after_a_restore(loader: Callable[..., RepeatLoader]) -> None:
    whole, again = loader(), loader()
    for step in range(7):
        whole.next(step / 20)
    again.restore(whole.state())
    for step in range(7, 12):
        expected, found = whole.next(step / 20), again.next(step / 20)
        assert torch.equal(expected.tokens_BT, found.tokens_BT)
        assert torch.equal(expected.labels_BT, found.labels_BT)
        assert torch.equal(expected.documents_BT, found.documents_BT)


def test_processes_read_the_windows_of_one(loader: Callable[..., RepeatLoader]) -> None:
    one = loader(batch=4)
    two = [loader(world=2, rank=rank) for rank in range(2)]
    for _ in range(5):
        rows = torch.cat([part.next().tokens_BT for part in two])
        assert torch.equal(one.next().tokens_BT, rows)


def test_a_state_of_another_stream_is_refused(
    loader: Callable[..., RepeatLoader], make_shard: MakeShard
) -> None:
    bare = WindowLoader([make_shard(4_000)], window=64, batch=2, seed=5)
    with pytest.raises(ValueError, match="repeats_seed None"):
        loader().restore(bare.state())


def test_vocabulary_leaves_the_separator_out(make_shard: MakeShard) -> None:
    found = vocabulary([make_shard(50), make_shard(20, first=100)])
    assert found.tolist() == [*range(1, 50), *range(100, 120)]
