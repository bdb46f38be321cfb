"""Limits the 2-norm of gradients: of all of them together, or of each optimiser group alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from asnn_goose.train.dtensors import whole
from asnn_goose.train.optimiser import Trained

ALL = "all"


def members(trained: Iterable[Trained], *, by: str) -> dict[str, list[nn.Parameter]]:
    """Parameters that are clipped together; `by` is "all" or "group"."""
    found: dict[str, list[nn.Parameter]] = {}
    for entry in trained:
        found.setdefault(entry.group if by == "group" else ALL, []).append(entry.parameter)
    return found


def norms(trained: Sequence[Trained], *, by: str) -> dict[str, Tensor]:
    """2-norm of the gradient of each set of parameters."""
    return {name: _norm(parameters) for name, parameters in members(trained, by=by).items()}


def _norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return whole(torch.nn.utils.get_total_norm(gradients))


def total(found: dict[str, Tensor]) -> Tensor:
    """2-norm over all sets."""
    values = list(found.values())
    return values[0] if len(values) == 1 else torch.stack(values).norm()


def clip(trained: Sequence[Trained], found: dict[str, Tensor], *, most: float, by: str) -> None:
    """Scale each set's gradient down to a norm of `most` where it is above."""
    for name, parameters in members(trained, by=by).items():
        torch.nn.utils.clip_grads_with_norm_(parameters, most, found[name])


def factor(norm: Tensor, most: float) -> Tensor:
    """What `clip` multiplies a gradient of that norm by."""
    # The same 1e-6 as torch's own clipping, so that sides kept elsewhere shrink by just what .grad
    # did.
    return torch.clamp(most / (norm + 1e-6), max=1.0)
