"""Laws that every row of the loss tables keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.trace import Batch, Trace

ALL = {**LOSSES, **VOCAB_LOSSES}
BLIND = {name for name, loss in VOCAB_LOSSES.items() if not loss.uses_teacher}

Passing = Callable[[int], Trace]


def total(name: str, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
    return Objective([Term(name, 1.0, ALL[name]())], chunk=4)(student, teacher, batch)[name]


def leaves(trace: Trace) -> list[Tensor]:
    found = []
    for field in dataclasses.fields(trace):
        value = getattr(trace, field.name)
        found += list(value) if isinstance(value, tuple) else [value]
    return found


def disturbed(trace: Trace, mask_BT: Tensor) -> Trace:
    """The same pass with everything that does not count replaced by large numbers."""

    def spoil(tensor: Tensor) -> Tensor:
        keep = mask_BT.reshape(*mask_BT.shape, *[1] * (tensor.dim() - 2))
        return torch.where(keep, tensor, torch.full_like(tensor, 7.0))

    changes = {
        field.name: tuple(spoil(t) for t in getattr(trace, field.name))
        for field in dataclasses.fields(trace)
        if isinstance(getattr(trace, field.name), tuple)
    }
    assert trace.final_BTD is not None
    return dataclasses.replace(trace, final_BTD=spoil(trace.final_BTD), **changes)


@pytest.mark.parametrize("name", sorted(ALL))
def test_finite_and_a_gradient_arrives_at_the_student_alone(
    name: str, passing: Passing, batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    loss = total(name, student, teacher, batch)
    assert loss.dim() == 0
    assert torch.isfinite(loss)
    loss.backward()
    grads = [t.grad for t in leaves(student) if t.grad is not None]
    assert grads
    assert all(torch.isfinite(g).all() and g.any() for g in grads)
    if name in VOCAB_LOSSES:
        assert all(t.grad is None for t in leaves(teacher))


@pytest.mark.parametrize("name", sorted(set(ALL) - BLIND))
def test_a_perfect_copy_costs_nothing(name: str, passing: Passing, batch: Batch) -> None:
    assert abs(float(total(name, passing(1), passing(1), batch))) < 1e-6
    assert float(total(name, passing(1), passing(2), batch)) > 1e-2


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_mask_is_respected(name: str, passing: Passing, batch: Batch) -> None:
    clean = total(name, passing(1), passing(2), batch)
    spoiled = [disturbed(passing(seed), batch.mask_BT) for seed in (1, 2)]
    assert torch.allclose(total(name, *spoiled, batch), clean, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(ALL))
def test_half_precision_inputs_are_computed_in_fp32(
    name: str, passing: Passing, batch: Batch
) -> None:
    def halved(trace: Trace) -> Trace:
        changes = {
            f.name: tuple(t.bfloat16() for t in v) if isinstance(v, tuple) else v.bfloat16()
            for f in dataclasses.fields(trace)
            for v in [getattr(trace, f.name)]
        }
        return dataclasses.replace(trace, **changes)

    student, teacher = halved(passing(1)), halved(passing(2))
    loss = total(name, student, teacher, batch)
    assert loss.dtype == torch.float32
    wanted = total(name, passing(1), passing(2), batch)
    assert abs(float(loss / wanted) - 1) < 0.02
