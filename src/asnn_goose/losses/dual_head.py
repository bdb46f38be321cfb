"""Dual-head distillation: DHKD (Yang et al. 2024, arXiv 2411.08937)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature, teacher_logits


class DualHead(VocabLoss):
    """A second head (V,D) on the student's hidden states meets the teacher's logits.

    d = z_own - z_teacher less its mean over the words of a token, which no softmax sees (ours).
    Per token tau^2 mean 1/2 [log(1/2 / sigmoid(d / tau)) + log(1/2 / sigmoid(-d / tau))], that is
    tau^2 mean log cosh(d / (2 tau)): 0 only where d is. The authors sum over their 100 classes; we
    take `classes` times the mean over the words, so that a weight means what it does there.

    The head starts as the student's (`adopt`), trains with the objective and is dropped with it.
    It costs a head product of its own, forward and backward. The student's own head learns from
    the other terms, usually "ce". Projecting conflicting gradients is the training loop's part
    (train.gradient_projection, a recipe's [stage.project]).

    temperature  tau > 0
    top_k        only the teacher's likeliest words of each token; 0: all
    classes      terms that the mean stands for; as many as there are words make it a plain sum
    """

    has_own_head = True
    head_VD: nn.Parameter | None

    def __init__(self, *, temperature: float = 2.0, top_k: int = 0, classes: float = 100.0) -> None:
        super().__init__()
        if top_k < 0 or top_k == 1:
            raise ValueError(f"top_k = {top_k}: must be at least 2 words, or 0 for all")
        self.temperature = check_temperature(temperature)
        if not (classes > 0 and math.isfinite(classes)):
            raise ValueError(f"classes = {classes}: must be above 0")
        self.top_k, self.classes = top_k, float(classes)
        self.register_parameter("head_VD", None)

    @property
    def own_head(self) -> Tensor:
        """Weight of the second head; ValueError before `adopt`."""
        if self.head_VD is None:
            raise ValueError("dual_head has no head yet: call Objective.adopt with the student's")
        return self.head_VD

    def adopt(self, head_VD: Tensor) -> None:
        """Start from the student's head."""
        self.head_VD = nn.Parameter(head_VD.detach().clone())

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,); z_student_nV are the logits of the second head."""
        z_teacher_nV, tau = teacher_logits(z_teacher_nV, "dual head"), self.temperature
        if self.top_k:
            z_teacher_nV, words_nk = z_teacher_nV.topk(self.top_k, dim=-1)
            z_student_nV = z_student_nV.gather(-1, words_nk)
        d_nV = z_student_nV.float() - z_teacher_nV.float()
        # Centred: a constant added to all logits changes no distribution, but log cosh would count
        # it.
        half_nV = (d_nV - d_nV.mean(-1, keepdim=True)) / (2 * tau)
        # log cosh x = softplus(2x) - x - log 2
        log_cosh_nV = F.softplus(2 * half_nV) - half_nV
        return self.classes * tau**2 * (log_cosh_nV - torch.log(half_nV.new_tensor(2.0))).mean(-1)
