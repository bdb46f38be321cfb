from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from asnn_goose.losses.tinybert import TinyBERT, TinyBERTAttention
from asnn_goose.trace import Batch, Rotation, Trace

Passing = Callable[[int], Trace]
Saying = Callable[..., Trace]


def test_embedding_and_hidden_states_are_summed(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    wanted = sum(
        F.mse_loss(s[batch.mask_BT], t[batch.mask_BT]).item()
        for s, t in zip(student.hidden, teacher.hidden, strict=True)
    )
    assert TinyBERT()(student, teacher, batch).item() == pytest.approx(wanted, rel=1e-5)


def test_all_layers_share_one_projection(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    loss = TinyBERT(project=True)
    loss.meet(student, teacher)
    (weight,) = loss.parameters()
    with torch.no_grad():
        weight.normal_(generator=torch.Generator().manual_seed(0))
    wanted = sum(
        F.mse_loss(s[batch.mask_BT] @ weight.T, t[batch.mask_BT]).item()
        for s, t in zip(student.hidden, teacher.hidden, strict=True)
    )
    assert loss(student, teacher, batch).item() == pytest.approx(wanted, rel=1e-5)


def test_scores_before_the_softmax_of_causal_pairs(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    wanted = 0.0
    for block in range(3):
        errors = []
        for b, t, s in batch.mask_BT.new_ones(2, 11, 11).tril().nonzero().tolist():
            if batch.mask_BT[b, t] and batch.mask_BT[b, s]:
                scores = [
                    (x.signals["queries"][block][b, t] * x.signals["keys"][block][b, s]).sum(-1)
                    / 4**0.5
                    for x in (student, teacher)
                ]
                errors.append(((scores[0] - scores[1]) ** 2).mean())
        wanted += torch.stack(errors).mean().item()
    found = TinyBERTAttention()(student, teacher, batch)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_a_map_says_which_blocks_are_compared(
    passing: Passing, batch: Batch, saying: Saying
) -> None:
    student, teacher = passing(1), passing(2)
    back = {name: teacher.signals[name][::-1] for name in ("queries", "keys")}
    third = TinyBERTAttention(layer_map=[[1, 3]])(student, teacher, batch)
    first = TinyBERTAttention(layer_map=[[1, 1]])(student, saying(teacher, **back), batch)
    assert third.item() == pytest.approx(first.item())


def test_positions_turn_the_teachers_scores_alone(
    passing: Passing, batch: Batch, saying: Saying
) -> None:
    student, teacher = passing(1), passing(2)
    loss = TinyBERTAttention()
    silent = saying(teacher, queries=tuple(0 * q for q in teacher.signals["queries"]))
    for trace, same in ((silent, True), (teacher, False)):
        turned = dataclasses.replace(trace, rotations=(Rotation(100.0),) * 3)
        found = loss(student, turned, batch).item(), loss(student, trace, batch).item()
        assert (found[0] == found[1]) == same


def test_what_does_not_fit_is_named(passing: Passing, batch: Batch, saying: Saying) -> None:
    student, teacher = passing(1), passing(2)
    more = saying(
        teacher,
        queries=tuple(q.repeat(1, 1, 2, 1) for q in teacher.signals["queries"]),
        keys=tuple(k.repeat(1, 1, 2, 1) for k in teacher.signals["keys"]),
    )
    with pytest.raises(ValueError, match="student has 2 heads, the teacher 4"):
        TinyBERTAttention()(student, more, batch)
    with pytest.raises(ValueError, match="begin with block 1"):
        TinyBERTAttention(layer_map=[[0, 0]])(student, teacher, batch)
