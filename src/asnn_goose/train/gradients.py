"""Gradients of groups of loss terms, kept apart: for gradient rules and the watchman."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from asnn_goose.losses import Objective, VocabLoss
from asnn_goose.names import check_name

Gradients = list[Tensor | None]
"""One for every parameter, None where the terms do not reach it."""


def sides(terms: Iterable[str], task: Collection[str]) -> dict[str, list[str]]:
    """Names of the task's terms and of the rest, as the groups "task" and "rest"; none is empty."""
    found: dict[str, list[str]] = {"task": [], "rest": []}
    for name in terms:
        found["task" if name in task else "rest"].append(name)
    return {name: group for name, group in found.items() if group}


def check_sides(terms: Sequence[str], task: Sequence[str], *, key: str) -> None:
    """Raise ValueError unless `task`, of the table `key`, names some of the terms and not all."""
    if not task:
        raise ValueError(f"{key}.task = []: name at least one of {', '.join(terms)}")
    for name in task:
        check_name(terms, name, setting=f"{key}.task")
    if set(terms) <= set(task):
        raise ValueError(f"{key}.task = {list(task)}: leave a loss for distillation")


@contextmanager
def kept_apart(objective: Objective, groups: Iterable[Sequence[str]]) -> Iterator[None]:
    """Within, terms over the vocabulary share a gradient only inside a group of names."""
    vocab = [name for name, loss in objective.losses.items() if isinstance(loss, VocabLoss)]
    numbers = (tuple(vocab.index(n) for n in group if n in vocab) for group in groups)
    # Put back afterwards: validation and ranking use the same objective, and pay for no groups.
    before = objective.groups
    objective.groups = tuple(group for group in numbers if group)
    try:
        yield
    finally:
        objective.groups = before


def apart(
    terms: Mapping[str, Tensor],
    groups: Mapping[str, Sequence[str]],
    parameters: Sequence[nn.Parameter],
) -> dict[str, Gradients]:
    """Gradient of each group's sum of terms; the pass behind the terms is freed after the last."""
    found: dict[str, Gradients] = {}
    for number, (name, members) in enumerate(groups.items(), start=1):
        total = torch.stack([terms[member] for member in members]).sum()
        found[name] = [None] * len(parameters)
        if total.requires_grad:
            last = number == len(groups)
            found[name] = list(
                torch.autograd.grad(total, parameters, retain_graph=not last, allow_unused=True)
            )
    return found


def accumulate(parameters: Sequence[nn.Parameter], part: Gradients, *, scale: float) -> None:
    """Add a part, times `scale`, to the gradients of the parameters."""
    for parameter, gradient in zip(parameters, part, strict=True):
        if gradient is not None:
            parameter.grad = added(parameter.grad, gradient * scale)


def added(total: Tensor | None, part: Tensor) -> Tensor:
    """`total` with `part` added in place; `part` itself where there is none yet."""
    # The first part is taken over as it is: one array less for each parameter at the peak.
    return part if total is None else total.add_(part)
