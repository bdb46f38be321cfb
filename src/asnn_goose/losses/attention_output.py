"""Every mixer matches the teacher's attention output: stage 1 of ARWKV, RADLADS and MOHAWK."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.distances import DISTANCES, check_distance
from asnn_goose.losses.features import counted
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.trace import Batch, Trace


def layer_distance(
    student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], mask_BT: Tensor, *, distance: str
) -> Tensor:
    """Mean over layers of a distance (a row of DISTANCES), over the tokens that count, in fp32."""
    rows = [
        (counted(s_BTD, mask_BT), counted(t_BTD, mask_BT))
        for s_BTD, t_BTD in zip(student, teacher, strict=True)
    ]
    return torch.stack([DISTANCES[distance](s_nD, t_nD) for s_nD, t_nD in rows]).mean()


class AttentionOutput(TraceLoss):
    """Mean over layers of a distance between mixer_out of student and teacher.

    distance  a row of losses.distances.DISTANCES: "relative" (ours), "l2" (ARWKV, arXiv 2501.15570;
              RADLADS, arXiv 2505.03005), "mse" (MOHAWK, arXiv 2408.10189), ...
    """

    needs = frozenset({"mixer_out"})

    def __init__(self, *, distance: str = "relative") -> None:
        super().__init__()
        self.distance = check_distance(distance)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32."""
        return layer_distance(
            student.mixer_out, teacher.mixer_out, batch.mask_BT, distance=self.distance
        )
