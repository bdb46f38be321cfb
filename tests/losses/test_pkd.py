from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from asnn_goose.losses.pkd import PKD
from asnn_goose.trace import Batch, Trace

Passing = Callable[[int], Trace]


@pytest.mark.parametrize(("layer_map", "layers"), [("skip", [2, 4]), ("last", [4, 5])])
def test_it_is_the_papers_loss(
    layer_map: str, layers: list[int], passing: Passing, batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    deep = dataclasses.replace(teacher, hidden=(*teacher.hidden, *passing(3).hidden[:3]))
    values = [
        F.mse_loss(*(F.normalize(h[batch.mask_BT].double(), dim=-1) for h in pair))
        for pair in zip(student.hidden[1:3], (deep.hidden[g] for g in layers), strict=True)
    ]
    wanted = 500 * torch.stack(values).mean()
    found = PKD(layer_map=layer_map)(student, deep, batch)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    found.backward()
    assert student.hidden[3].grad is None


def test_lengths_do_not_matter_and_beta_scales(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    loud = dataclasses.replace(student, hidden=tuple(7 * h for h in student.hidden))
    quiet = PKD(beta=10.0)(student, teacher, batch).item()
    assert PKD(beta=10.0)(loud, teacher, batch).item() == pytest.approx(quiet, rel=1e-5)
    assert PKD(beta=20.0)(student, teacher, batch).item() == pytest.approx(2 * quiet, rel=1e-6)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="beta = 0"):
        PKD(beta=0.0)
