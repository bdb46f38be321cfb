"""Elastic firing: amplitudes measured once, inner steps with a leak."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import (
    TINY,
    Neuron,
    check_positive,
    check_rate,
    passed,
    widened,
)
from asnn_goose.ops.spike_codes import Spikes

LEAK = 0.25


class SpikeLM(Neuron):
    """Mean over inner steps of o_t = alpha_t clip(round(m_t / alpha_t), -1, 1) (arXiv 2406.03287).

    m_0 = h and m_t = m_{t-1} (alpha_{t-1} - o_{t-1}) / 4 + h, where no gradient takes the bracket;
    do/dm = 1[|m_t| <= alpha_t]. alpha_t = multiplier threshold mean |m_t| over the whole first
    batch, then frozen. A step fires where |m_t| > alpha_t / 2: at the published multiplier of 2
    and threshold of 1 above mean |m|, which 42.5 % of a Gaussian are.

    One step is odd in h. More are not: a negative spike doubles the bracket, a positive one
    empties it, as published.

    threshold         in multiples of the first batch's mean magnitude
    multiplier        the published knob; only its product with the threshold counts
    shared_amplitude  one alpha, the first step's, so that spikes add up to integers; false, as
                      published, measures one for each step, and then there is no `encode`
    """

    usual_threshold: ClassVar[float] = 1.0

    alpha: Tensor
    measured: Tensor

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "rate",
        threshold: float = usual_threshold,
        multiplier: float = 2.0,
        shared_amplitude: bool = True,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        check_rate(steps, code)
        check_positive("multiplier", multiplier)
        self.multiplier, self.shared_amplitude = multiplier, shared_amplitude or steps == 1
        if steps > 1:
            self.training_only = (
                "a membrane leaks from inner step to inner step, so that their sum is no rounding "
                "of the input; take steps = 1"
            )
        self.register_buffer("alpha", torch.ones(steps))
        self.register_buffer("measured", torch.tensor(False))

    def forward(self, h_BK: Tensor) -> Tensor:
        wide_BK = widened(h_BK)
        spikes_SBK, alpha_S = self._run(wide_BK)
        # Frozen after one batch, as published: amplitudes that follow every batch would make each a
        # new function.
        if self.training and not bool(self.measured) and bool(wide_BK.any()):
            self.alpha.copy_(alpha_S)
            self.measured.fill_(True)
        if self.shared_amplitude:
            return (alpha_S[:1] / self.steps * spikes_SBK.sum(0)).to(h_BK.dtype)
        weight_S1 = (alpha_S / self.steps).unsqueeze(-1)
        return (weight_S1 * spikes_SBK.flatten(1)).sum(0).view_as(h_BK).to(h_BK.dtype)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Sum over inner steps (..., K), and alpha / steps (1,).

        Raises ValueError where the steps have amplitudes of their own.
        """
        if not self.shared_amplitude:
            raise ValueError("shared_amplitude = false: such steps do not add up to integers")
        spikes_SBK, alpha_S = self._run(widened(h_BK))
        return Spikes(spikes_SBK.sum(0), alpha_S[:1] / self.steps)

    @property
    def waits(self) -> bool:
        """Whether its first batch is still to come."""
        return not bool(self.measured)

    def constants(self) -> dict[str, float]:
        """Alpha, and half of it as the threshold."""
        return {"amplitude": self.alpha[0].item(), "fires": self.alpha[0].item() / 2}

    def _run(self, h_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes s_t = o_t / alpha_t (S, ..., K) and alpha (S,), measured here if not before."""
        m_BK, spikes, alphas = h_BK, list[Tensor](), list[Tensor]()
        for step in range(self.steps):
            if step:
                m_BK = LEAK * m_BK * (alphas[-1] * (1 - spikes[-1])).detach() + h_BK
            alphas.append(self._amplitude(m_BK, alphas))
            spikes.append(_elastic(m_BK, alphas[-1]))
        return torch.stack(spikes), torch.stack(alphas)

    def _amplitude(self, m_BK: Tensor, before: list[Tensor]) -> Tensor:
        """Alpha of the step after those `before`."""
        if bool(self.measured):
            return self.alpha[len(before)].to(m_BK.dtype)
        if before and self.shared_amplitude:
            return before[0]
        mean = m_BK.detach().abs().mean(dtype=torch.float64)
        return (self.multiplier * self.threshold * mean).clamp_min(TINY).to(m_BK.dtype)


def _elastic(m_BK: Tensor, alpha: Tensor) -> Tensor:
    """clip(round(m / alpha), -1, 1), which fires where |m| > alpha / 2."""
    with torch.no_grad():
        spikes_BK = m_BK.sign() * (m_BK.abs() > alpha / 2)
        slope_BK = (m_BK.abs() <= alpha) / alpha
    return passed(m_BK, spikes_BK, slope_BK)
