"""Logit distillation by forward KL divergence (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.kinds import Chunk, VocabLoss


class KL(VocabLoss):
    """tau^2 KL(p_teacher^tau || p_student^tau) per token, softmax in fp32.

    temperature tau > 0; the factor tau^2 keeps the size of gradients.
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature = {temperature}: must be above 0")
        self.temperature = float(temperature)

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats."""
        if z_teacher_nV is None:
            raise ValueError("the KL loss needs teacher logits")
        log_p = torch.log_softmax(z_teacher_nV.float() / self.temperature, dim=-1)
        log_q = torch.log_softmax(z_student_nV.float() / self.temperature, dim=-1)
        return self.temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1)
