"""Laws that every row of the loss tables keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.trace import Batch, Trace

ALL = {**LOSSES, **VOCAB_LOSSES}
BLIND = {name for name, loss in VOCAB_LOSSES.items() if not loss.uses_teacher}

Passing = Callable[[int], Trace]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Twice(Trace):
    """A pass of one teacher that speaks for two."""

    def each(self, tokens: slice) -> tuple[Tensor, ...]:
        log_p_nV = torch.log_softmax(self.vocab(tokens), dim=-1)
        return (log_p_nV, log_p_nV)


def total(name: str, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
    objective = Objective([Term(name, 1.0, ALL[name]())], chunk=4)
    objective.meet(student, teacher)
    if objective.wants_head:
        assert student.head_VD is not None
        objective.adopt(student.head_VD)
    return objective(student, Twice(**values(teacher)), batch)[name]


def values(trace: Trace) -> dict[str, Any]:
    return {field.name: getattr(trace, field.name) for field in dataclasses.fields(trace)}


TABLES = ("head_VD", "embedding_VD")
"""Tensors of words, not of tokens."""


def changed(trace: Trace, change: Callable[[Tensor], Tensor], *, tables: bool = True) -> Trace:
    """The same pass with every tensor changed; those of words only where wanted."""
    new = {}
    for name, value in values(trace).items():
        if isinstance(value, tuple):
            new[name] = tuple(change(tensor) for tensor in value)
        elif name == "signals":
            new[name] = {key: tuple(change(x) for x in xs) for key, xs in value.items()}
        elif isinstance(value, Tensor) and (tables or name not in TABLES):
            new[name] = change(value)
    return dataclasses.replace(trace, **new)


def leaves(trace: Trace) -> list[Tensor]:
    found: list[Tensor] = []
    for value in (*values(trace).values(), *trace.signals.values()):
        found += [
            t for t in (value if isinstance(value, tuple) else (value,)) if torch.is_tensor(t)
        ]
    return found


def disturbed(trace: Trace, mask_BT: Tensor) -> Trace:
    """The same pass with everything that does not count replaced by large numbers."""

    def spoil(tensor: Tensor) -> Tensor:
        keep = mask_BT.reshape(*mask_BT.shape, *[1] * (tensor.dim() - 2))
        return torch.where(keep, tensor, torch.full_like(tensor, 7.0))

    return changed(trace, spoil, tables=False)


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
    student, teacher = (changed(passing(seed), lambda t: t.bfloat16()) for seed in (1, 2))
    loss = total(name, student, teacher, batch)
    assert loss.dtype == torch.float32
    wanted = total(name, passing(1), passing(2), batch)
    assert abs(float(loss / wanted) - 1) < 0.02
