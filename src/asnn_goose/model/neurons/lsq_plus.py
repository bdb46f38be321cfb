"""Spikes around an offset that is learned like their amplitude."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from asnn_goose.model.neurons.neuron import TINY, Neuron, check_fade, check_per, widened
from asnn_goose.ops.spike_codes import Spikes
from asnn_goose.ops.ternary import SMALLEST_SCALE, best_affine, learned_step

SAMPLE = 1 << 14
"""Numbers of the first batch that the search looks at."""


class LSQPlusSpikes(Neuron):
    """s round(clip((h - beta) / s, -M, M)) + beta, s and beta learned (LSQ+, arXiv 2004.09576).

    Gradients are those of `ops.ternary.learned_step`: h takes g inside the range, beta the sum of g
    outside, and s that of LSQ over the root of (N M), N the elements that share it. Both start
    where the first batch's squared error is least (`ops.ternary.best_affine`). For what lies to one
    side of zero, as behind a relu: without an offset half of the codes would stand for nothing.

    per   "tensor", or "channel": K steps and offsets, each from its channel's own values
    fade  share of the training in which an analogue part of h fades away; 0: none
    """

    starts_parameters: ClassVar[bool] = True
    training_only = "the engine's codes have no offset; take learned"

    measured: Tensor

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = Neuron.usual_threshold,
        per: str = "tensor",
        fade: float = 0.0,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        if threshold != Neuron.usual_threshold:
            raise ValueError(f"threshold = {threshold}: lsq_plus searches its step; leave it out")
        check_per(per)
        self.fade = check_fade(fade)
        self.per, size = per, columns if per == "channel" else 1
        self.amplitude = nn.Parameter(torch.ones(size))
        self.offset = nn.Parameter(torch.zeros(size))
        self.register_buffer("measured", torch.tensor(False))

    def forward(self, h_BK: Tensor) -> Tensor:
        """(..., K) -> what the spikes stand for, same shape and dtype."""
        wide_BK = widened(h_BK)
        # A batch of nothing but padding must not be the one that is measured.
        if self.training and not bool(self.measured) and bool(h_BK.any()):
            self._start(wide_BK.detach())
        amplitude, offset = self._learned(wide_BK)
        shared = max(wide_BK.numel() // amplitude.numel(), 1)
        out_BK = learned_step(
            wide_BK,
            amplitude,
            low=-self.levels,
            high=self.levels,
            step_gradient=(shared * self.levels) ** -0.5,
            offset=offset,
        )
        return self.fading(wide_BK, out_BK).to(h_BK.dtype)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Integers (..., K), amplitude and offset, (1,) or (K,) each."""
        wide_BK = widened(h_BK)
        amplitude, offset = self._learned(wide_BK)
        amplitude = amplitude.clamp_min(SMALLEST_SCALE)
        q_BK = ((wide_BK - offset) / amplitude).clamp(-self.levels, self.levels).round()
        return Spikes(q_BK, amplitude, offset)

    @property
    def waits(self) -> bool:
        """Whether its first batch is still to come."""
        return not bool(self.measured)

    def constants(self) -> dict[str, float]:
        """Nothing that the engine knows."""
        return {}

    def _learned(self, wide_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Amplitude and offset in the input's dtype."""
        if not bool(self.measured):
            return self._first(wide_BK.detach())
        return self.amplitude.to(wide_BK.dtype), self.offset.to(wide_BK.dtype)

    @torch.no_grad()
    def _start(self, wide_BK: Tensor) -> None:
        amplitude, offset = self._first(wide_BK)
        self.amplitude.copy_(amplitude)
        self.offset.copy_(offset)
        self.measured.fill_(True)

    def _first(self, wide_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Amplitude and offset as a batch suggests them."""
        channels_Kn = wide_BK.reshape(-1, self.columns).T
        rows_Rn = channels_Kn if self.per == "channel" else channels_Kn.reshape(1, -1)
        # Some thousands of numbers tell a step as well as millions, and the search reads them all
        # for every candidate.
        most = max(SAMPLE // len(rows_Rn), 128)
        rows_Rn = rows_Rn[:, :: -(-rows_Rn.shape[1] // most)]
        amplitude_R1, offset_R1 = best_affine(rows_Rn, top=self.levels)
        return amplitude_R1.view(-1).clamp_min(TINY), offset_R1.view(-1)
