"""Easy windows first: POCL (Liu and Zhang 2025, arXiv 2506.05695).

The paper ranks samples by the loss and the ROUGE-L of the first student. On running text we take
the student's loss and the teacher-student KL of each window; the fusion of the ranks is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from asnn_goose.trace import Batch
from asnn_goose.train.stages import Stage
from asnn_goose.train.yardstick import per_token

RANK_OFFSET = 60
"""The constant of reciprocal rank fusion."""


class WindowPool(Protocol):
    """The part of a loader that gives chosen windows."""

    def batch_of(self, places: Sequence[tuple[int, int]], progress: float) -> Batch:
        """The batch of the windows (shard, first token)."""


def fused_order(*scores: Sequence[float]) -> list[int]:
    """Numbers of the windows, easiest first: falling sum over the scores of 1 / (60 + rank).

    Rank 1 is the lowest score; equal ranks and equal sums go by number.
    """
    total = np.zeros(len(scores[0]))
    for score in scores:
        ranks = np.empty(len(score))
        # Ranks and not scores are fused: nats of two different distances have no common scale.
        ranks[np.argsort(np.asarray(score), kind="stable")] = np.arange(1, len(score) + 1)
        total += 1 / (RANK_OFFSET + ranks)
    return [int(number) for number in np.argsort(-total, kind="stable")]


def rank(
    stage: Stage,
    windows: WindowPool,
    places: Sequence[tuple[int, int]],
    *,
    batch: int,
    accelerator: Accelerator,
) -> list[int]:
    """Order of the windows by the student as it is; the main process's on all of them."""
    losses: list[float] = []
    divergences: list[float] = []
    # Neurons must not measure their thresholds on the windows that are being ranked.
    stage.eval()
    for start in range(0, len(places), batch):
        # Progress 0: the student is ranked with as it will begin.
        found = windows.batch_of(places[start : start + batch], 0.0).to(accelerator.device)
        loss_B, kl_B = difficulty(stage, found)
        losses += loss_B.tolist()
        divergences += kl_B.tolist()
    stage.train()
    # One process decides for all: another order of sums elsewhere could swap two windows, and
    # shares of the data would overlap.
    order: list[Any] = [fused_order(losses, divergences)]
    return cast(list[int], broadcast_object_list(order)[0])


def difficulty(stage: Stage, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean -log p(label) of the student, and mean KL(teacher || student), per window (B,)."""
    loss_BT, kl_BT = per_token(stage, batch, teacher=True)
    return loss_BT.mean(1), kl_BT.mean(1)
