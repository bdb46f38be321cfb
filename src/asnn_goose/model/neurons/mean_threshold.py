"""Spikes whose thresholds follow every token's own mean magnitude."""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import Neuron, check_fade, passed, widened
from asnn_goose.model.neurons.surrogate_gradient import SurrogateGradient
from asnn_goose.ops.spike_codes import Spikes, encode, encode_binary, mean_magnitude
from asnn_goose.ops.spike_product import Coding

STRAIGHT = "straight_through"


class MeanThreshold(Neuron):
    """amplitude q of `ops.spike_codes.encode`, computed in fp32; carries no state.

    The gradient is straight-through (arXiv 1308.3432): 1 where the code can follow h, that is
    for |h| up to (M + 1/2) amplitude with M the largest q, and 0 beyond, where the code is
    saturated. One step saturates at the amplitude (M = 1); where not one neuron fired, the
    threshold stands for the amplitude, so that a silent token still learns.

    signed     false: no negative spikes, for one step; the window then ends at -1/2 amplitude
    surrogate  for one step any of `ops.surrogate`, over (h - threshold) / amplitude; threshold
               and amplitude take no gradient. surrogate_shape: its width, alpha or k
    fade       share of the training in which an analogue part of h fades away; 0: none
    """

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = 0.7,
        signed: bool = True,
        surrogate: str = STRAIGHT,
        surrogate_shape: float | None = None,
        fade: float = 0.0,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        gradient = SurrogateGradient(surrogate, shape=surrogate_shape)
        self.gradient = None if surrogate == STRAIGHT else gradient
        if steps > 1 and self.gradient is not None:
            raise ValueError(f"surrogate = {surrogate!r}: {steps} steps take {STRAIGHT!r} only")
        if steps > 1 and not signed:
            raise ValueError(f"signed = false: is for one step, and here are {steps}")
        self.signed, self.fade = signed, check_fade(fade)
        if not signed:
            self.training_only = "the engine's codes have negative spikes"

    def forward(self, h_BK: Tensor) -> Tensor:
        with torch.no_grad():
            spikes = self.encode(h_BK)
            if self.gradient is None:
                slope_BK = self.window(h_BK, spikes.amplitude_B1)
            else:
                slope_BK = self._slope(self.gradient, h_BK, spikes.amplitude_B1)
            values_BK = spikes.values().to(h_BK.dtype)
        return self.fading(h_BK, passed(h_BK, values_BK, slope_BK))

    def coding(self, *, rotate: bool) -> Coding | None:
        """Its steps, code and threshold."""
        if self.gradient is not None or not self.signed or (self.training and self.fade):
            return None
        return Coding(
            rotate=rotate, steps=self.steps, code=self.code, threshold=self.relative_threshold
        )

    def encode(self, h_BK: Tensor) -> Spikes:
        """The integers and amplitudes themselves, without a gradient."""
        wide_BK = widened(h_BK.detach())
        if not self.signed:
            return encode_binary(wide_BK, threshold=self.relative_threshold)
        return encode(wide_BK, steps=self.steps, code=self.code, threshold=self.relative_threshold)

    def constants(self) -> dict[str, float]:
        """The threshold, relative to each token's mean magnitude."""
        return {"threshold": self.relative_threshold}

    @property
    def relative_threshold(self) -> float:
        """In multiples of a token's mean magnitude."""
        return self.threshold

    def window(self, h_BK: Tensor, amplitude_B1: Tensor) -> Tensor:
        """True where a gradient passes."""
        if self.steps == 1:
            amplitude_B1 = torch.maximum(amplitude_B1, self._threshold(h_BK, amplitude_B1))
        if self.signed:
            return h_BK.abs() <= amplitude_B1 * (self.levels + 0.5)
        return (h_BK >= -0.5 * amplitude_B1) & (h_BK <= 1.5 * amplitude_B1)

    def _slope(self, gradient: SurrogateGradient, h_BK: Tensor, amplitude_B1: Tensor) -> Tensor:
        threshold_B1 = self._threshold(h_BK, amplitude_B1)
        unit_B1 = torch.maximum(amplitude_B1, threshold_B1)
        # A token of zeros has neither threshold nor amplitude; 0 / 0 would reach every weight as
        # NaN.
        unit_B1 = unit_B1.clamp_min(torch.finfo(unit_B1.dtype).tiny)
        v_BK, theta_B1 = h_BK / unit_B1, threshold_B1 / unit_B1
        gradient.follow(v_BK)
        h = gradient.now()
        slope_BK = h(v_BK - theta_B1) + (h(v_BK + theta_B1) if self.signed else 0)
        return slope_BK.to(h_BK.dtype)

    def _threshold(self, h_BK: Tensor, amplitude_B1: Tensor) -> Tensor:
        return mean_magnitude(h_BK.to(amplitude_B1.dtype)) * self.relative_threshold
