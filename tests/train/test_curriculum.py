from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.data.loader import Pool, Subset, WindowLoader
from asnn_goose.train.curriculum import fused_order

scores = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30)


@given(scores)
def test_order_is_invariant_to_monotone_rescaling_of_either_score(
    pairs: list[tuple[int, int]],
) -> None:
    one, other = ([float(pair[i]) for pair in pairs] for i in (0, 1))
    order = fused_order(one, other)
    assert sorted(order) == list(range(len(pairs)))
    assert fused_order([value**3 - 5 for value in one], other) == order
    assert fused_order(one, np.exp(other).tolist()) == order


def test_easy_comes_first_and_ties_go_by_number() -> None:
    assert fused_order([3.0, 1.0, 2.0], [3.0, 1.0, 2.0]) == [1, 2, 0]
    assert fused_order([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]) == [0, 1, 2]
    # reciprocal ranks: (1, 4) beats (3, 2) and (2, 3), which tie
    assert fused_order([1.0, 3.0, 2.0, 4.0], [4.0, 2.0, 3.0, 1.0]) == [0, 3, 1, 2]


def pool(tiny: object, count: int = 8) -> tuple[WindowLoader, Pool]:
    windows = WindowLoader([tiny.shard()], window=16, batch=2, seed=1)  # type: ignore[attr-defined]
    return windows, Pool(windows, count=count)


def test_subsets_are_nested_and_easiest_first(tiny: object) -> None:
    _, found = pool(tiny)
    found.order = [5, 2, 7, 0, 1, 3, 4, 6]
    shares = [{tuple(row) for row in found.easiest(s).tolist()} for s in (0.25, 0.5, 0.75, 1.0)]
    assert shares[0] == {found.places[5], found.places[2]}
    assert shares[0] < shares[1] < shares[2] < shares[3] == set(found.places)


def test_the_loader_reads_its_subset_alone(tiny: object) -> None:
    windows, found = pool(tiny)
    subset = Subset(pool=found, share=0.5)
    loader = WindowLoader([tiny.shard()], window=16, batch=2, seed=3, subset=subset)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no order yet"):
        loader.next()
    found.order = list(range(8))
    read = {tuple(row) for _ in range(2) for row in loader.next().tokens_BT.tolist()}
    wanted = windows.batch_of(found.places[:4], 0.0).tokens_BT.tolist()
    assert read == {tuple(row) for row in wanted}
    state = loader.state()
    expected = loader.next().tokens_BT
    loader.restore(state)
    assert loader.next().tokens_BT.equal(expected)
