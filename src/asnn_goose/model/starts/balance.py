"""Channels balanced between a norm and the matrices behind it (SmoothQuant, arXiv 2211.10438)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.starts.total import Total, own
from asnn_goose.ops.hadamard import rotated
from asnn_goose.trace import Trace

SMALLEST = 1e-3
"""Least size of a channel, in units of their mean: a silent one is not blown up."""


@torch.no_grad()
def balance(
    student: GooseForCausalLM, teacher: Iterable[Trace], total: Total = own, *, strength: float
) -> int:
    """Divide large channels by s and multiply the columns that read them; returns how many places.

    teacher   traces with STREAM, such as those of the dense student that a rung starts from
    total     gives the sum over all processes that read the same student
    strength  a in s_j = x_j^a / w_j^(1-a), with x_j the root mean square of channel j and w_j that
              of its columns; 1 makes all channels alike, 1/2 channels like their columns. The
              geometric mean of s is 1. (The paper takes largest magnitudes.)

    s folds into norm gains and wherever else mixers and MLPs say (`balance_places`), so that a
    dense student computes what it did. Gains and columns train on: the balance is learned from
    there. Raises ValueError for a matrix with a norm of its own.
    """
    folds = [_Fold(place) for block in student.blocks for place in block.balance_places()]
    hooks = [fold.place.readers[0].register_forward_pre_hook(fold.see) for fold in folds]
    try:
        for trace in teacher:
            student.drive_blocks(trace.hidden, trace.mixer_out, window=trace.window)
    finally:
        for hook in hooks:
            hook.remove()
    for fold in folds:
        fold.squares_K = total(fold.squares_K)
        fold.apply(strength)
    for fold in folds:
        for reader in fold.place.readers:
            reader.restart()
    return len(folds)


@dataclass
class _Fold:
    """One place: what scales its channels, what reads them, and the squares seen so far."""

    place: BalancePlace

    def __post_init__(self) -> None:
        if any(reader.sub_norm is not None for reader in self.place.readers):
            raise ValueError("balance: a matrix has sub_norm, which would divide it out again")
        self.squares_K = torch.zeros(self.place.readers[0].in_features)

    def see(self, matrix: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Count an input of the first reader."""
        self.squares_K += inputs[0].flatten(0, -2).float().square().sum(0).to(self.squares_K.device)

    def apply(self, strength: float) -> None:
        """Move s from the channels to the columns."""
        columns_OK = torch.cat([_plain(reader) for reader in self.place.readers]).float()
        size_K = _floored(self.squares_K.to(columns_OK.device).sqrt())
        weight_K = _floored(columns_OK.square().mean(0).sqrt())
        # In logarithms: the mean of s is then 1 in the sense in which it multiplies.
        log_K = strength * size_K.log() - (1 - strength) * weight_K.log()
        s_K = (log_K - log_K.mean()).exp()
        for gain in self.place.gains:
            gain.div_(s_K if gain.dim() == 1 else s_K.unsqueeze(1))
        for reader in self.place.readers:
            found_OK = _plain(reader) * s_K
            reader.weight.copy_(rotated(found_OK) if reader.precision.rotate else found_OK)
        for adapter in self.place.adapters:
            adapter.down.mul_(s_K.unsqueeze(1))


def _plain(matrix: Projection) -> Tensor:
    """The weights [O,K] in the basis of the input."""
    return rotated(matrix.weight) if matrix.precision.rotate else matrix.weight


def _floored(size_K: Tensor) -> Tensor:
    return size_K.clamp_min(SMALLEST * float(size_K.mean()))
