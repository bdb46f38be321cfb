"""Layers of the teacher blended by learned gates (after LAD: Lin, Chen, Kao, Sensors 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asnn_goose.losses.kinds import check_share
from asnn_goose.losses.layer_map import uniform_pairs
from asnn_goose.trace import Trace


class LearnedLayers(nn.Module):
    """One target per student block out of all of the teacher's, so that none is skipped.

    Student block j owns the teacher's layers after g(j-1) up to g(j) of the uniform map. Within
    them z_i = G z_{i-1} + (1 - G) h_i, from z_1 = h_1, with one gate per token,
    G = sigmoid(W [z; h] + b), shared by all layers and 1/2 at the start. The paper's equations
    could not be verified: this form is ours.

    frozen_after   share of the stage after which the gates stand still and the targets are
                   constants: gates that went on could make targets ever easier to meet
    """

    weight: nn.Parameter | None

    def __init__(self, *, frozen_after: float) -> None:
        super().__init__()
        self.frozen_after = check_share("frozen_after", frozen_after)
        self.register_parameter("weight", None)
        self.bias = nn.Parameter(torch.zeros(()))

    def meet(self, teacher: Trace) -> None:
        """Make gates for a teacher of this width."""
        self.weight = nn.Parameter(torch.zeros(2 * teacher.width))

    def forward(
        self, layers: Sequence[Tensor], student_depth: int, progress: float
    ) -> list[Tensor]:
        """Targets (n,D) of the student's blocks 1, 2, ...; `layers` are the teacher's 1 to N.

        Raises ValueError where the teacher has fewer blocks, or another width.
        """
        known = 0 if self.weight is None else len(self.weight) // 2
        if self.weight is None or student_depth > len(layers) or layers[0].shape[-1] != known:
            raise ValueError(
                f"layer_map = 'learned' for {student_depth} student blocks and a teacher of width "
                f"{known}: the teacher has {len(layers)} blocks of width {layers[0].shape[-1]}"
            )
        ends = [g for _, g in uniform_pairs(student_depth, len(layers))]
        starts = [0, *ends[:-1]]
        targets = [self._blend(layers[a:b], self.weight) for a, b in zip(starts, ends, strict=True)]
        frozen = progress >= self.frozen_after
        return [z.detach() for z in targets] if frozen else targets

    def _blend(self, layers: Sequence[Tensor], weight: Tensor) -> Tensor:
        z_nD = layers[0]
        for h_nD in layers[1:]:
            score_n = (torch.cat([z_nD, h_nD], dim=-1) * weight).sum(-1) + self.bias
            z_nD = torch.lerp(h_nD, z_nD, score_n.sigmoid()[:, None])
        return z_nD
