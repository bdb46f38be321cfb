"""Spikes whose thresholds follow every token's own mean magnitude."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from asnn_goose.ops.spike_codes import Spikes, encode, levels, mean_magnitude


class MeanThreshold(nn.Module):
    """amplitude q of `ops.spike_codes.encode`, computed in fp32; carries no state.

    The gradient is straight-through (arXiv 1308.3432): 1 where the code can follow h, that is
    for |h| up to (M + 1/2) amplitude with M the largest q, and 0 beyond, where the code is
    saturated. One step saturates at the amplitude (M = 1); where not one neuron fired, the
    threshold stands for the amplitude, so that a silent token still learns.
    """

    def __init__(self, *, steps: int, code: str, threshold: float) -> None:
        super().__init__()
        self.steps, self.code, self.threshold = steps, code, threshold
        self.levels = levels(code, steps)

    def forward(self, h_BK: Tensor) -> Tensor:
        """(..., K) -> what the spikes stand for, same shape and dtype."""
        return cast(Tensor, _StraightThrough.apply(h_BK, self))  # type: ignore[no-untyped-call]

    def encode(self, h_BK: Tensor) -> Spikes:
        """The integers and amplitudes themselves, without a gradient."""
        wide = torch.promote_types(h_BK.dtype, torch.float32)
        return encode(
            h_BK.detach().to(wide), steps=self.steps, code=self.code, threshold=self.threshold
        )

    def window(self, h_BK: Tensor, amplitude_B1: Tensor) -> Tensor:
        """True where a gradient passes."""
        if self.steps == 1:
            threshold_B1 = mean_magnitude(h_BK.to(amplitude_B1.dtype)) * self.threshold
            amplitude_B1 = torch.maximum(amplitude_B1, threshold_B1)
        return h_BK.abs() <= amplitude_B1 * (self.levels + 0.5)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h_BK: Tensor, neuron: MeanThreshold) -> Tensor:
        spikes = neuron.encode(h_BK)
        ctx.save_for_backward(neuron.window(h_BK, spikes.amplitude_B1))
        return spikes.values().to(h_BK.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.saved_tensors[0], None
