"""Spikes whose threshold is moved until a wanted share of them fires."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asnn_goose.model.neurons.mean_threshold import MeanThreshold
from asnn_goose.ops.spike_codes import Spikes, digits
from asnn_goose.ops.spike_product import Coding

COUNTED = 64
"""Tokens of a batch whose spikes are counted: the share over all columns is sharp enough."""

FARTHEST = math.log(16)
"""A threshold goes no further from its start, up or down: no rate is worth a code that died."""


class Homeostatic(MeanThreshold):
    """MeanThreshold with firing under control: the threshold itself follows the rate.

    After a training step log(threshold) moves by gain (fired - rate) for each of its batches, fired
    being the share of all steps of spikes in which a neuron fired. Neurons that fire too often so
    hear less, as in the adaptive thresholds of Diehl and Cook (2015, doi
    10.3389/fncom.2015.00099); theirs are one a neuron and decay with time, here is one a matrix
    with a wanted rate, which is what the engine's `threshold` can say. Outside of training it is a
    MeanThreshold of the threshold that was found.

    threshold  where it starts
    rate       share of steps that should fire, in 0 .. 1
    gain       how far one batch moves log(threshold) for each unit of rate
    """

    moved: Tensor
    fired: Tensor

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = 0.7,
        rate: float = 0.28,
        gain: float = 0.1,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        if not 0 < rate < 1:
            raise ValueError(f"rate = {rate}: must be above 0 and below 1")
        if not 0 < gain <= 1:
            raise ValueError(f"gain = {gain}: must be above 0, at most 1")
        self.rate, self.gain = rate, gain
        self.register_buffer("moved", torch.zeros(1))
        # Nothing was counted yet: a threshold must not move for that.
        self.register_buffer("fired", torch.full((1,), rate))

    def take_counts(self) -> Tensor:
        """By how much a batch fired too often (1,)."""
        too_much = self.fired - self.rate
        self.fired.fill_(self.rate)
        return too_much

    def go_on(self, counts_n: Tensor) -> None:
        """Move the threshold."""
        self.moved.add_(self.gain * counts_n).clamp_(-FARTHEST, FARTHEST)

    def coding(self, *, rotate: bool) -> Coding | None:
        """As a MeanThreshold's outside of training, where nothing is counted."""
        return None if self.training else super().coding(rotate=rotate)

    def encode(self, h_BK: Tensor) -> Spikes:
        """The integers and amplitudes; in training their spikes are counted."""
        spikes = super().encode(h_BK)
        if self.training and bool(h_BK.any()):  # a batch of padding fires nothing
            self.fired.fill_(self._share(spikes.q_BK.detach().reshape(-1, self.columns)))
        return spikes

    @property
    def relative_threshold(self) -> float:
        """In multiples of the mean magnitude, as it stands now."""
        return self.threshold * math.exp(float(self.moved))

    def _share(self, q_nK: Tensor) -> float:
        some_nK = q_nK[:: -(-len(q_nK) // COUNTED)]
        return digits(some_nK, steps=self.steps, code=self.code).abs().mean().item()
