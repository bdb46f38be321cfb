"""Spikes that stand for a learned value."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asnn_goose.model.neurons.mean_threshold import MeanThreshold
from asnn_goose.model.neurons.neuron import Neuron, check_per, positive, widened
from asnn_goose.ops.spike_codes import Spikes


class RealSpike(Neuron):
    """MeanThreshold times a learned value (after Real Spike, arXiv 2210.06686).

    The value starts at 1; integers, amplitudes and the gradient's window are MeanThreshold's.

    per  "tensor": the value folds into the scales of the weights; "channel": K values, which do
         not fold into ternary weights
    """

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = 0.7,
        per: str = "tensor",
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        check_per(per)
        if per == "channel":
            self.training_only = (
                "values per channel do not fold into ternary weights; "
                "fold them into the norm before, or learn one per tensor"
            )
        self.unlearned = MeanThreshold(columns, steps=steps, code=code, threshold=threshold)
        self.value = nn.Parameter(torch.ones(columns if per == "channel" else 1))

    def forward(self, h_BK: Tensor) -> Tensor:
        wide_BK = widened(h_BK)
        with torch.no_grad():
            spikes = self.unlearned.encode(wide_BK)
            window_BK = self.unlearned.window(wide_BK, spikes.amplitude_B1)
        value = positive(self.value.to(wide_BK.dtype))
        out_BK = _Valued.apply(wide_BK, value, spikes, window_BK)  # type: ignore[no-untyped-call]
        return cast(Tensor, out_BK).to(h_BK.dtype)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Integers (..., K), and amplitude times value: (..., 1), or (..., K) per channel."""
        q_BK, amplitude_B1, _ = self.unlearned.encode(h_BK)
        return Spikes(q_BK, amplitude_B1 * positive(self.value.to(amplitude_B1.dtype)))

    def constants(self) -> dict[str, float]:
        """The threshold relative to each token's mean magnitude, and the value as a factor."""
        return {"threshold": self.threshold, "factor": positive(self.value.detach()).item()}


class _Valued(torch.autograd.Function):
    """(amplitude value) q: dh = g value 1[window], dvalue = sum of g amplitude q."""

    @staticmethod
    def forward(ctx: Any, h_BK: Tensor, value: Tensor, spikes: Spikes, window_BK: Tensor) -> Tensor:
        ctx.save_for_backward(value, spikes.values(), window_BK)
        return Spikes(spikes.q_BK, spikes.amplitude_B1 * value).values()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        value, unlearned_BK, window_BK = ctx.saved_tensors
        dvalue = (gradients[0] * unlearned_BK).sum_to_size(value.shape)
        return gradients[0] * value * window_BK, dvalue, None, None
