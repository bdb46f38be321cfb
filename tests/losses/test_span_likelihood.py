from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.span_likelihood import SpanLikelihood
from asnn_goose.trace import Batch, Reading, Trace

Passing = Callable[[int], Trace]


def next_log_p(trace: Trace, batch: Batch) -> Tensor:
    """What every position gives its label (B*T,)."""
    labels_n1 = batch.labels_BT.flatten().clamp_min(0)[:, None]
    return trace.vocab(slice(None)).log_softmax(-1).gather(-1, labels_n1)[:, 0]


def by_hand(ours: float, theirs: float, tau: float) -> float:
    q, p = math.exp(ours / tau), math.exp(theirs / tau)
    return tau * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))


@pytest.mark.parametrize("tau", [1.0, 3.0, 100.0])
def test_with_one_tokenizer_every_token_is_a_span(
    tau: float, passing: Passing, batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    ours, theirs = (next_log_p(x, batch)[batch.mask_BT.flatten()] for x in (student, teacher))
    wanted = [by_hand(a, b, tau) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    found = SpanLikelihood(temperature=tau, chunk=5)(student, teacher, batch)
    assert found.item() == pytest.approx(sum(wanted) / len(wanted), rel=1e-3)


def reading_of(batch: Batch, spans: list[list[int]]) -> Reading:
    """Spans of positions of the first window, read by the teacher at the very same places."""
    of_n = torch.full((batch.tokens_BT.numel(),), -1)
    for number, places in enumerate(spans):
        of_n[places] = number
    return Reading(
        places_n=of_n, spans_n=of_n, next_m=batch.labels_BT.flatten().clamp_min(0),
        spans_m=of_n, spans=len(spans),
    )  # fmt: skip


def test_tokens_of_a_span_are_multiplied(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    ours, theirs = next_log_p(student, batch), next_log_p(teacher, batch)
    heard = dataclasses.replace(teacher, reading=reading_of(batch, [[0, 1], [5, 6, 7]]))
    wanted = [
        by_hand(float(ours[x].sum()), float(theirs[x].sum()), 10.0) for x in ([0, 1], [5, 6, 7])
    ]
    found = SpanLikelihood(temperature=10.0)(student, heard, batch)
    assert found.item() == pytest.approx(sum(wanted) / 2, rel=1e-3)


def test_a_span_with_a_token_that_does_not_count_is_left_out(
    passing: Passing, batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    assert not batch.mask_BT[0, 3]
    both = dataclasses.replace(teacher, reading=reading_of(batch, [[0, 1], [2, 3]]))
    one = dataclasses.replace(teacher, reading=reading_of(batch, [[0, 1]]))
    loss = SpanLikelihood()
    assert loss(student, both, batch).item() == pytest.approx(loss(student, one, batch).item())
    none = dataclasses.replace(teacher, reading=reading_of(batch, [[2, 3]]))
    nothing = loss(student, none, batch)
    nothing.backward()
    assert nothing.item() == 0


def test_equal_models_cost_nothing_and_gradients_reach_the_head(
    passing: Passing, batch: Batch
) -> None:
    student = passing(1)
    assert SpanLikelihood()(student, passing(1), batch).item() == pytest.approx(0, abs=1e-5)
    SpanLikelihood()(student, passing(2), batch).backward()
    assert student.head_VD is not None
    assert student.head_VD.grad is not None
    assert student.head_VD.grad.abs().sum() > 0


def test_a_certain_span_has_a_finite_cost(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    sure = dataclasses.replace(teacher, head_VD=1e4 * teacher.head_VD)  # type: ignore[operator]
    for pair in ((student, sure), (sure, student)):
        found = SpanLikelihood()(*pair, batch)
        assert found.isfinite()
        assert found > 0


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="temperature = -1"):
        SpanLikelihood(temperature=-1)
    with pytest.raises(ValueError, match="chunk = 0"):
        SpanLikelihood(chunk=0)
