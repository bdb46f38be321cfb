from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.data.loader import Pool, Subset, WindowLoader
from asnn_goose.trace import IGNORED_LABEL
from asnn_goose.train.curriculum import RANK_OFFSET, difficulty, fused_order, rank
from asnn_goose.train.yardstick import per_token

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


def test_ranking_is_by_the_students_loss_and_the_teachers_divergence(tiny: object) -> None:
    plan = tiny.plan(noise=False)  # type: ignore[attr-defined]
    stage = plan.stages[1].stage
    windows, found = pool(tiny)
    batch = windows.batch_of(found.places, 0.0)
    vocab = frozenset({"vocab"})
    z, t = (
        model.trace(batch.tokens_BT, vocab).vocab(slice(None)).log_softmax(-1)
        for model in (stage.student, stage.teacher)
    )
    labels = batch.labels_BT.flatten()[:, None]
    loss_B, kl_B = difficulty(stage, batch)
    wanted = -z.gather(1, labels).view(8, 16).mean(1)
    torch.testing.assert_close(loss_B, wanted.detach(), rtol=1e-4, atol=1e-5)
    of_teacher = (t.exp() * (t - z)).sum(-1).view(8, 16).mean(1)
    torch.testing.assert_close(kl_B, of_teacher.detach(), rtol=1e-3, atol=1e-5)
    assert not torch.allclose(kl_B, (z.exp() * (z - t)).sum(-1).view(8, 16).mean(1), rtol=1e-2)
    order = rank(stage, windows, found.places, batch=3, accelerator=plan.accelerator)
    assert order == fused_order(loss_B.tolist(), kl_B.tolist())


def test_labels_that_do_not_count_are_no_difficulty(tiny: object) -> None:
    stage = tiny.plan(noise=False).stages[1].stage  # type: ignore[attr-defined]
    windows, found = pool(tiny)
    batch = windows.batch_of(found.places, 0.0)
    batch.labels_BT[:, 5:] = IGNORED_LABEL
    for values_BT in per_token(stage, batch, teacher=True):
        assert values_BT[:, :5].all()
        assert not values_BT[:, 5:].any()


def test_the_constant_of_the_fusion_is_the_published_one() -> None:
    assert RANK_OFFSET == 60
    # ranks (1, 9), (2, 2) and so on: with 60 the second is easier, with a large constant the sum
    # of the ranks alone would count
    one = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    other = [7.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0]
    totals = [1 / (60 + a) + 1 / (60 + b) for a, b in zip(one, other, strict=True)]
    wanted = sorted(range(7), key=lambda n: (-totals[n], n))
    assert fused_order(one, other) == wanted
