"""Logit distillation by forward KL divergence (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.divergence import kl_divergence
from asnn_goose.losses.kinds import Chunk, VocabLoss, check_temperature, teacher_logits
from asnn_goose.losses.top_words import top_kl
from asnn_goose.names import check_name
from asnn_goose.ops.divergence import fits_vocabulary, fused_kl

SCHEDULES = ("constant", "rising", "falling")


class KL(VocabLoss):
    """tau^2 KL(p_teacher^tau || p_student^tau) per token, softmax in fp32.

    temperature      tau > 0 at the start; the factor tau^2 keeps the size of gradients
    schedule         "constant", or "rising" or "falling" linearly over the stage
    temperature_end  tau at the end of the stage, where the schedule is not constant
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        temperature_end: float | None = None,
        schedule: str = "constant",
    ) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.end = _checked_end(self.temperature, temperature_end, schedule)

    def temperature_at(self, progress: float) -> float:
        """The temperature after a share of the stage."""
        return self.temperature + (self.end - self.temperature) * progress

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats; to the rest as one word where the teacher was cached (top_words.py)."""
        tau = self.temperature_at(chunk.progress)
        if chunk.top is not None:
            return top_kl(chunk.top, z_student_nV, chunk, tau)
        z_teacher_nV = teacher_logits(z_teacher_nV, "KL")
        if fits_vocabulary(z_student_nV, z_teacher_nV):
            return fused_kl(z_student_nV, z_teacher_nV, tau)
        log_p, log_q = chunk.log_probs(z_teacher_nV, tau), chunk.log_probs(z_student_nV, tau)
        # Gradients at the logits fall as 1 / tau^2; with the factor a weight means the same at any
        # tau.
        return tau**2 * kl_divergence(log_p, log_q)

    def top_temperatures(self) -> frozenset[float] | None:
        """The temperature, where it is one for the whole stage."""
        return frozenset({self.temperature}) if self.end == self.temperature else None


def _checked_end(start: float, end: float | None, schedule: str) -> float:
    """The temperature at the end; ValueError where it and the schedule do not fit."""
    check_name(SCHEDULES, schedule, setting="schedule")
    if schedule == "constant":
        if end is not None:
            raise ValueError(f"temperature_end = {end}: a constant schedule has none")
        return start
    if end is None:
        raise ValueError(f"schedule = {schedule!r}: give temperature_end")
    right = end > start if schedule == "rising" else 0 < end < start
    if not right:
        side = "above" if schedule == "rising" else "above 0 and below"
        raise ValueError(f"temperature_end = {end}: must be {side} temperature = {start}")
    return float(end)
