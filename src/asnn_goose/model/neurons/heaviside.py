"""Spikes that say nothing but the sign: SpikeGPT's binary embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import Neuron, passed, widened
from asnn_goose.ops.spike_codes import Spikes
from asnn_goose.ops.surrogate import surrogate as surrogate_named


class Heaviside(Neuron):
    """s = 1[h >= 0], with an ATan surrogate (SpikeGPT, arXiv 2302.13939, of its embedding).

    Zero fires: an embedding that starts at 0 is all ones. There is no other threshold to set.
    """

    training_only = "it fires at 0, and the engine's codes are silent there"

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = Neuron.usual_threshold,
        surrogate: str = "atan",
        surrogate_shape: float | None = None,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        if steps != 1:
            raise ValueError(f"steps = {steps}: a sign is one spike; take 1")
        if threshold != Neuron.usual_threshold:
            raise ValueError(f"threshold = {threshold}: heaviside fires at 0; leave it out")
        if surrogate == "learnable":
            raise ValueError("surrogate = 'learnable': heaviside has no membrane to follow")
        self.h = surrogate_named(surrogate, surrogate_shape)

    def forward(self, h_BK: Tensor) -> Tensor:
        """(..., K) -> 0 or 1, same shape and dtype."""
        with torch.no_grad():
            slope_BK = self.h(widened(h_BK)).to(h_BK.dtype)
        return passed(h_BK, (h_BK >= 0).to(h_BK.dtype), slope_BK)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """0 or 1 (..., K), and the amplitude 1."""
        wide_BK = widened(h_BK)
        return Spikes((wide_BK >= 0).to(wide_BK.dtype), wide_BK.new_ones(1))

    def constants(self) -> dict[str, float]:
        """Spikes stand for 1."""
        return {"amplitude": 1.0}
