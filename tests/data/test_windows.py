"""Evaluation windows score every token but the first exactly once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.data.shards import Shard
from asnn_goose.data.windows import eval_windows

LENGTHS, WINDOWS = st.integers(2, 400), st.integers(1, 64)


@given(LENGTHS, WINDOWS)
def test_every_token_but_the_first_is_scored_once(length: int, window: int) -> None:
    ids = np.arange(1_000, 1_000 + length)
    found = list(eval_windows(ids, window=window))
    assert torch.cat([labels_1T for _, labels_1T in found], 1)[0].tolist() == ids[1:].tolist()
    for tokens_1T, labels_1T in found:
        assert tokens_1T.shape == labels_1T.shape
        assert tokens_1T.dtype == labels_1T.dtype == torch.int64
        assert torch.equal(tokens_1T + 1, labels_1T)
    assert all(tokens_1T.shape == (1, window) for tokens_1T, _ in found[:-1])
    assert 1 <= found[-1][0].shape[1] <= window


@given(LENGTHS, WINDOWS, st.integers(1, 500))
def test_limit_spreads_windows_over_the_text(length: int, window: int, limit: int) -> None:
    ids = torch.arange(length)
    found = list(eval_windows(ids, window=window, limit_tokens=limit))
    scored = torch.cat([labels_1T for _, labels_1T in found], 1)[0]
    window = min(window, limit)
    assert len(scored) <= limit
    assert len(scored.unique()) == len(scored)
    assert len(found) == min(limit // window, -(-(length - 1) // window))
    starts = torch.tensor([int(tokens_1T[0, 0]) for tokens_1T, _ in found])
    assert (starts % window == 0).all()
    if len(found) > 1:
        steps = starts.diff()
        assert steps.max() - steps.min() <= window
        assert starts[0] <= steps.max()
        assert length - starts[-1] <= steps.max() + window


def test_limit_takes_the_middle_of_the_text() -> None:
    [(tokens_1T, _)] = eval_windows(np.arange(101), window=10, limit_tokens=10)
    assert tokens_1T[0, 0] == 50


def test_shard_is_read_as_its_tokens(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard(25)
    found = [tokens_1T.tolist() for tokens_1T, _ in eval_windows(shard, window=10)]
    assert found == [[[*range(10)]], [[*range(10, 20)]], [[*range(20, 24)]]]


def test_large_ids_survive() -> None:
    [(tokens_1T, labels_1T)] = eval_windows(np.array([65_535, 0], np.uint16))
    assert (tokens_1T.item(), labels_1T.item()) == (65_535, 0)


@pytest.mark.parametrize("setting", ["window", "limit_tokens"])
def test_settings_below_one_are_named(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} is 0, wanted at least 1"):
        eval_windows(np.arange(10), **{setting: 0})


@pytest.mark.parametrize("shape", [(1,), (0,), (2, 5)])
def test_text_without_a_label_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="wanted \\(N,\\) with N at least 2"):
        eval_windows(np.zeros(shape, np.int64))
