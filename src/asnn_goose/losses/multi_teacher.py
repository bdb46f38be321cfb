"""Several teachers with learned weights (mixture after Zuchniak 2023, arXiv 2302.07215)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asnn_goose.losses.divergence import kl_divergence
from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature
from asnn_goose.trace import IGNORED_LABEL


class MultiTeacher(VocabLoss):
    """tau^2 KL(m^tau || p_student^tau) with m = sum_k w_k p_k, w = softmax(theta).

    theta learns from the text alone: it descends -log m(label), the cross-entropy of the mixture,
    and sees nothing of the student, whose loss it could lower by picking the teacher nearest to
    it. That cross-entropy gives a gradient but adds nothing to the value. Fixed, per-token and
    selecting weights need no loss of their own: see model.TeacherMixture.

    teachers     number of teachers, as in the recipe
    temperature  tau > 0
    """

    each_teacher = True

    def __init__(self, *, teachers: int = 2, temperature: float = 1.0) -> None:
        super().__init__()
        if teachers < 2:
            raise ValueError(f"teachers = {teachers}: must be at least 2")
        self.temperature = check_temperature(temperature)
        self.theta = nn.Parameter(torch.zeros(teachers))

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        if len(chunk.teachers_nV) != len(self.theta):
            raise ValueError(
                f"teachers = {len(self.theta)}: the pass holds {len(chunk.teachers_nV)}"
            )
        log_w_k, tau = torch.log_softmax(self.theta.float(), dim=0), self.temperature
        with torch.no_grad():
            parts = [w + p for w, p in zip(log_w_k, chunk.teachers_nV, strict=True)]
            # Mixed first and tempered then: a mixture of tempered teachers is another distribution.
            log_m_nV = torch.log_softmax(torch.logsumexp(torch.stack(parts), 0) / tau, dim=-1)
        value_n = tau**2 * kl_divergence(log_m_nV, chunk.log_probs(z_student_nV, tau))
        text_n = self._text_loss(log_w_k, chunk)
        # Zero in value: what is reported stays comparable to a run with fixed weights.
        return value_n + (text_n - text_n.detach())

    def readings(self) -> dict[str, float]:
        """weight_k: share of every teacher."""
        weights = torch.softmax(self.theta.detach().float(), dim=0).tolist()
        return {f"weight_{k}": weight for k, weight in enumerate(weights)}

    def _text_loss(self, log_w_k: Tensor, chunk: Chunk) -> Tensor:
        """-log m(label) (n,), 0 where there is no label."""
        there_n = chunk.labels_n != IGNORED_LABEL
        labels_n1 = chunk.labels_n.clamp_min(0)[:, None]
        log_p_nk = torch.cat([p.gather(-1, labels_n1) for p in chunk.teachers_nV], dim=-1)
        return -torch.logsumexp(log_w_k + log_p_nk, dim=-1) * there_n
