"""Integrate-and-fire neurons by the rate that they settle to."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import TINY, Neuron, check_rate, passed, widened
from asnn_goose.ops.spike_codes import Spikes, encode_at


class SpikingBERT(Neuron):
    """v_th times the firing rate of integrate-and-fire neurons without a leak (arXiv 2308.10873).

    Under a constant input h, the rate of a neuron that subtracts v_th where it fires goes to
    a* = clamp(h / v_th, -1, 1). Values are those of `steps` steps that begin half-way to firing:
    the nearest multiple of 1 / steps. Gradients are those of the closed form, 1[|h| <= v_th].
    v_th = threshold mean |h| over the whole first batch, then frozen (the paper has 1).

    signed  false: rates from 0 to 1 only, as published
    """

    v_th: Tensor
    measured: Tensor

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "rate",
        threshold: float = 0.7,
        signed: bool = True,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        check_rate(steps, code)
        self.signed = signed
        if not signed:
            self.training_only = "the engine's codes have negative spikes"
        self.register_buffer("v_th", torch.ones(1))
        self.register_buffer("measured", torch.tensor(False))

    def forward(self, h_BK: Tensor) -> Tensor:
        with torch.no_grad():
            range_1 = self.range_of(h_BK)
            values_BK = self.encode(h_BK).values().to(h_BK.dtype)
            # True just where the clamp left the value alone: the derivative of the closed form
            # without writing its bounds twice.
            slope_BK = self.closed_form(h_BK) == widened(h_BK) / range_1
        return passed(h_BK, values_BK, slope_BK)

    @torch.no_grad()
    def range_of(self, h_BK: Tensor) -> Tensor:
        """v_th (1,), in the dtype of computing; the first batch of training sets it."""
        if self.training and not bool(self.measured) and bool(h_BK.any()):
            self.v_th.copy_(self._range(h_BK))
            self.measured.fill_(True)
        return self._range(h_BK)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Spikes of all steps together (..., K), and v_th / steps (1,)."""
        wide_BK = widened(h_BK) if self.signed else widened(h_BK).clamp_min(0)
        return encode_at(wide_BK, self._range(h_BK) / self.steps, top=self.levels)

    @property
    def waits(self) -> bool:
        """Whether its first batch is still to come."""
        return not bool(self.measured)

    def constants(self) -> dict[str, float]:
        """The amplitude; half of it is the threshold of one step."""
        amplitude = self.v_th.item() / self.steps
        return {"amplitude": amplitude} | ({"fires": amplitude / 2} if self.steps == 1 else {})

    def closed_form(self, h_BK: Tensor) -> Tensor:
        """The rate a* that many steps go to."""
        return self._scaled(h_BK).clamp(-1, 1)

    def _scaled(self, h_BK: Tensor) -> Tensor:
        wide_BK = widened(h_BK) if self.signed else widened(h_BK).clamp_min(0)
        return wide_BK / self._range(h_BK)

    @torch.no_grad()
    def _range(self, h_BK: Tensor) -> Tensor:
        """v_th (1,), in the dtype of computing."""
        wide_BK = widened(h_BK)
        if bool(self.measured):
            return self.v_th.to(wide_BK.dtype)
        mean = wide_BK.abs().mean(dtype=torch.float64).view(1)
        return (self.threshold * mean).clamp_min(TINY).to(wide_BK.dtype)
