"""Learned step size (LSQ, arXiv 1902.08153), and its start by search (LSQ+, arXiv 2004.09576)."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from asnn_goose.model.ternary.method import TernaryMethod, learned_scale, wide, with_row_scales
from asnn_goose.ops.ternary import SMALLEST_SCALE, Ternary, best_step, learned_step, sharing


class LearnedStep(TernaryMethod):
    """s round(clip(W / s, -1, 1)) with the step s learned: `ops.ternary.learned_step`.

    The step's gradient is divided by the root of how many weights share it. W takes no gradient
    where |W| > s. `granularity` is "row", or "tensor" as published: what shares a step.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 1,
        group: int = 0,
        granularity: str = "row",
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        self.granularity = granularity
        self.step_R1 = learned_scale(rows, granularity)

    @torch.no_grad()
    def start_(self, weight_OK: Tensor) -> None:
        """Start every step where the paper says."""
        step_R1 = self.first_step(sharing(wide(weight_OK), self.granularity))
        self.step_R1.copy_(step_R1.clamp_min(SMALLEST_SCALE))

    @abstractmethod
    def first_step(self, weight_RN: Tensor) -> Tensor:
        """Steps (R,1) to start from, for rows that share one."""

    def forward(self, weight_OK: Tensor) -> Tensor:
        step_R1 = wide(self.step_R1, weight_OK)
        # LSQ's scale: all weights of a row pull at one step.
        step_gradient = 1 / math.sqrt(weight_OK.numel() / step_R1.numel())
        out_OK = learned_step(wide(weight_OK), step_R1, step_gradient=step_gradient)
        return out_OK.to(weight_OK.dtype)

    @torch.no_grad()
    def planes_of(self, weight_OK: Tensor) -> Ternary:
        step_R1 = wide(self.step_R1, weight_OK).clamp_min(SMALLEST_SCALE)
        codes_OK = (wide(weight_OK) / step_R1).clamp(-1, 1).round()
        return with_row_scales(codes_OK.unsqueeze(0), step_R1)


class LSQ(LearnedStep):
    """Steps start at twice the mean |W|."""

    def first_step(self, weight_RN: Tensor) -> Tensor:
        """(R,N) -> (R,1)."""
        return 2 * weight_RN.abs().mean(-1, keepdim=True)


class LSQPlus(LearnedStep):
    """Steps start where the squared error is least.

    The offset of LSQ+ is for activations, which lie to one side of zero, and not for weights.
    """

    def first_step(self, weight_RN: Tensor) -> Tensor:
        """(R,N) -> (R,1)."""
        return best_step(weight_RN)
