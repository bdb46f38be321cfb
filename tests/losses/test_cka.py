from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from asnn_goose.losses.cka import CKA, evenly
from asnn_goose.ops.hsic import unbiased_cka
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

Passing = Callable[[int], Trace]


def test_it_is_the_mean_over_layers(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    values = [
        1 - unbiased_cka(*(h[batch.mask_BT].double() for h in pair)).item()
        for pair in zip(student.hidden[1:], teacher.hidden[1:], strict=True)
    ]
    found = CKA()(student, teacher, batch)
    assert found.item() == pytest.approx(sum(values) / 3, abs=1e-5)


def test_rotation_scale_shift_and_width_cost_nothing(passing: Passing, batch: Batch) -> None:
    student = passing(1)
    turn, _ = torch.linalg.qr(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)))
    moved = dataclasses.replace(student, hidden=tuple(5 * h @ turn.T + 2 for h in student.hidden))
    assert abs(CKA()(student, moved, batch).item()) < 1e-5


def test_few_tokens_are_taken_evenly(passing: Passing, batch: Batch) -> None:
    chosen = evenly(batch.mask_BT, 6)
    assert chosen.sum() == 6
    assert not (chosen & ~batch.mask_BT).any()
    places = chosen[batch.mask_BT].nonzero().squeeze(1)
    assert places.tolist() == [0, 3, 6, 9, 12, 15]
    assert torch.equal(evenly(batch.mask_BT, 18), batch.mask_BT)
    student, teacher = passing(1), passing(2)
    CKA(tokens=6)(student, teacher, batch).backward()
    assert student.hidden[1].grad is not None
    assert int(student.hidden[1].grad.any(-1).sum()) == 6


def test_too_few_tokens_cost_nothing(passing: Passing, batch: Batch) -> None:
    student = passing(1)
    labels = torch.full_like(batch.labels_BT, IGNORED_LABEL)
    labels[0, :3] = 1
    loss = CKA()(student, passing(2), dataclasses.replace(batch, labels_BT=labels))
    loss.backward()
    assert loss.item() == 0


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="tokens = 3: must be at least 4"):
        CKA(tokens=3)
