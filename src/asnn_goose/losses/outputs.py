"""Outputs of the student held against the teacher's at the same place, layer by layer."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from asnn_goose.losses.distances import DISTANCES, beyond_rounding, check_distance
from asnn_goose.losses.features import counted
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.trace import Batch, Trace


class _Output(TraceLoss):
    """Mean over layers of a distance between what student and teacher have at a place of a Trace.

    distance  a row of losses.distances.DISTANCES
    """

    place: ClassVar[str]
    layers: ClassVar[slice] = slice(None)

    def __init__(self, *, distance: str = "relative") -> None:
        super().__init__()
        self.distance = DISTANCES[check_distance(distance)]

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        ours, theirs = (getattr(one, self.place)[self.layers] for one in (student, teacher))
        rows = [
            (counted(s_BTD, batch.mask_BT), counted(t_BTD, batch.mask_BT))
            for s_BTD, t_BTD in zip(ours, theirs, strict=True)
        ]
        apart = [self.distance(beyond_rounding(s_nD, t_nD), t_nD) for s_nD, t_nD in rows]
        return torch.stack(apart).mean()


class AttentionOutput(_Output):
    """Every mixer matches the teacher's attention: stage 1 of ARWKV, RADLADS and MOHAWK.

    distance  "relative" (ours), "l2" (ARWKV, arXiv 2501.15570; RADLADS, arXiv 2505.03005), "mse"
              (MOHAWK, arXiv 2408.10189), ...
    """

    needs = frozenset({"mixer_out"})
    place = "mixer_out"


class MlpOutput(_Output):
    """Every MLP matches the teacher's: the other half of a block, once its precision is lowered.

    A dense student's MLPs are the teacher's own.
    """

    needs = frozenset({"mlp_out"})
    place = "mlp_out"


class BlockOutput(_Output):
    """The residual stream behind the last block that ran, as `slide` gives it."""

    needs = frozenset({"hidden"})
    place = "hidden"
    layers = slice(-1, None)

    def __init__(self, *, distance: str = "huber") -> None:
        super().__init__(distance=distance)
