"""Every mixer matches the teacher's attention output: stage 1 of ARWKV, RADLADS and MOHAWK."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor

from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.trace import Batch, Trace

TINY = 1e-8


def _relative(difference_nD: Tensor, target_nD: Tensor) -> Tensor:
    """Squared error over the squared target: every layer weighs the same."""
    return difference_nD.square().sum() / target_nD.square().sum().clamp_min(TINY)


def _l2(difference_nD: Tensor, target_nD: Tensor) -> Tensor:
    """Mean over tokens of the Euclidean distance / sqrt(D), as in ARWKV."""
    width = difference_nD.shape[-1]
    return difference_nD.square().sum(-1).clamp_min(TINY**2).sqrt().mean() / math.sqrt(width)


def _mse(difference_nD: Tensor, target_nD: Tensor) -> Tensor:
    """Mean squared error."""
    return difference_nD.square().mean()


DISTANCES: MappingProxyType[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"relative": _relative, "l2": _l2, "mse": _mse}
)


class AttentionOutput(TraceLoss):
    """Mean over layers of a distance between mixer_out of student and teacher.

    distance  "relative" (squared error over the target's squared norm), "l2" (ARWKV,
              arXiv 2501.15570; RADLADS, arXiv 2505.03005) or "mse" (MOHAWK, arXiv 2408.10189)
    """

    needs = frozenset({"mixer_out"})

    def __init__(self, *, distance: str = "relative") -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ValueError(f"distance = {distance!r}: choose one of {', '.join(DISTANCES)}")
        self.distance = DISTANCES[distance]

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32."""
        pairs = zip(student.mixer_out, teacher.mixer_out, strict=True)
        return torch.stack([self._layer(s, t, batch.mask_BT) for s, t in pairs]).mean()

    def _layer(self, student_BTD: Tensor, teacher_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        if bool(mask_BT.all()):
            student_nD, teacher_nD = student_BTD.flatten(0, 1), teacher_BTD.flatten(0, 1)
        else:
            student_nD, teacher_nD = student_BTD[mask_BT], teacher_BTD[mask_BT]
        teacher_nD = teacher_nD.float()
        return self.distance(student_nD.float() - teacher_nD, teacher_nD)
