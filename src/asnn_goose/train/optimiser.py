"""Optimisers over named groups of parameters, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from asnn_goose.train.dot import Dot, DotSettings

LOSS_GROUP = "loss"
"""Group of an objective's own parameters."""

DECAYED = frozenset({"matrix"})
"""Groups that weight decay pulls on: norms, biases, decay vectors and embeddings are left alone."""


class Trained(NamedTuple):
    """A parameter that the stage trains: its name in the stage, its group, itself."""

    name: str
    group: str
    parameter: nn.Parameter


def adamw(
    trained: Iterable[Trained],
    *,
    scales: Mapping[str, float],
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.AdamW:
    """AdamW with one parameter group per group name; `scales` multiply the rate of a group.

    Fused: on a CPU 3.6 times as fast as the loop over tensors, and as deterministic.
    """
    groups = _groups(trained, scales=scales, weight_decay=weight_decay)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)


def dot(
    trained: Iterable[Trained],
    settings: DotSettings,
    *,
    scales: Mapping[str, float],
    betas: tuple[float, float],
    weight_decay: float,
) -> Dot:
    """DOT in the same groups; an objective's own parameters keep the plain momentum."""
    groups = _groups(trained, scales=scales, weight_decay=weight_decay)
    for group in groups:
        if group["name"] == LOSS_GROUP:
            group["delta"] = 0.0
    return Dot(groups, form=settings.optimiser, delta=settings.delta, betas=betas)


def _groups(
    trained: Iterable[Trained], *, scales: Mapping[str, float], weight_decay: float
) -> list[dict[str, Any]]:
    members: dict[str, list[nn.Parameter]] = {}
    for entry in trained:
        members.setdefault(entry.group, []).append(entry.parameter)
    return [
        {
            "name": group,
            "params": parameters,
            "scale": scales.get(group, 1.0),
            "weight_decay": weight_decay if group in DECAYED else 0.0,
        }
        for group, parameters in members.items()
    ]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate times its own scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def state_tensors(
    optimiser: torch.optim.Optimizer, trained: Iterable[Trained]
) -> dict[str, Tensor]:
    """Moments and step counts as `<kind>/<parameter name>`; none before the first step."""
    return {
        f"{kind}/{entry.name}": value
        for entry in trained
        for kind, value in optimiser.state.get(entry.parameter, {}).items()
    }


def restore_state(
    optimiser: torch.optim.Optimizer, trained: Iterable[Trained], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `state_tensors` gave, into an optimiser that has not stepped yet."""
    parameters = {entry.name: entry.parameter for entry in trained}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        parameter = parameters[name]
        # A clone: memory of its own, aligned as the optimiser would have allocated it.
        optimiser.state[parameter][kind] = (
            value.clone() if kind == "step" else value.to(parameter.device, copy=True)
        )
