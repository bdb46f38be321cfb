"""Spikes whose threshold and amplitude are learned."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from asnn_goose.model.neurons.neuron import (
    TINY,
    Neuron,
    check_fade,
    check_per,
    positive,
    widened,
)
from asnn_goose.model.neurons.surrogate_gradient import SurrogateGradient
from asnn_goose.ops.spike_codes import Spikes, encode_at
from asnn_goose.ops.surrogate import in_units, ternary_spikes

# Parts amplitudes that would start equal, always in the same way: a seed gives the same run.
JITTER = 0.01
GOLDEN = 0.6180339887498949


class LearnedThreshold(Neuron):
    """amplitude q, with one amplitude for all tokens that is trained.

    One step: q = 1[h > theta] - 1[h < -theta] with theta trained through the surrogate, over
    u = (h - theta) / amplitude; the amplitude's gradient is that of a factor.
    More steps: q = round(h / amplitude), clipped to M, with the gradients of LSQ
    (arXiv 1902.08153): dh = g 1[|h| <= M amplitude], and d amplitude = sum of
    g (q - h / amplitude inside, q outside) / sqrt(N M), N the elements that share it.

    Both start from the first batch: theta or the range M amplitude is `threshold` times the mean
    magnitude, and a single step's amplitude is the mean of what then fires.

    per   "tensor", or "channel" (K numbers, each from its channel's own mean; amplitudes that would
          start equal are spread by up to 1 %, always the same way)
    fade  share of the training in which an analogue part of h fades away; 0: none
    """

    starts_parameters: ClassVar[bool] = True

    measured: Tensor
    theta: nn.Parameter | None

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = 0.7,
        per: str = "tensor",
        surrogate: str = "rectangle",
        surrogate_shape: float | None = None,
        fade: float = 0.0,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        check_per(per)
        self.fade = check_fade(fade)
        if per == "channel":
            self.training_only = (
                "amplitudes per channel do not fold into ternary weights; "
                "fold them into the norm before, or learn one per tensor"
            )
        self.per, size = per, columns if per == "channel" else 1
        self.gradient = SurrogateGradient(surrogate, shape=surrogate_shape)
        self.amplitude = nn.Parameter(torch.ones(size))
        self.register_parameter("theta", nn.Parameter(torch.ones(size)) if steps == 1 else None)
        self.register_buffer("measured", torch.tensor(False))

    def forward(self, h_BK: Tensor) -> Tensor:
        wide_BK = widened(h_BK)
        if self.training and not bool(self.measured):
            self._start(wide_BK.detach())
        theta, amplitude = self._scales(wide_BK)
        if self.steps > 1:
            out_BK = learned_step(wide_BK, amplitude, top=self.levels)
            return self.fading(wide_BK, out_BK).to(h_BK.dtype)
        # The surrogate is measured in the amplitude without a gradient to it: that one is trained
        # as a factor alone.
        unit = amplitude.detach()
        self.gradient.follow(wide_BK / unit)
        spikes_BK = ternary_spikes(wide_BK, theta, in_units(self.gradient.now(), unit))
        return self.fading(wide_BK, amplitude * spikes_BK).to(h_BK.dtype)

    @torch.no_grad()
    def encode(self, h_BK: Tensor) -> Spikes:
        """Integers (..., K) and the amplitude, (1,) or (K,)."""
        wide_BK = widened(h_BK)
        theta, amplitude = self._scales(wide_BK)
        return encode_at(wide_BK, amplitude, top=self.levels, fires=theta)

    @property
    def waits(self) -> bool:
        """Whether its first batch is still to come."""
        return not bool(self.measured)

    @torch.no_grad()
    def constants(self) -> dict[str, float]:
        """The amplitude, and the threshold of one step."""
        found = {"amplitude": positive(self.amplitude).item()}
        if self.theta is not None:
            found["fires"] = positive(self.theta).item()
        return found

    def _scales(self, wide_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Theta and amplitude in the input's dtype."""
        if not bool(self.measured):
            return self._first_scales(wide_BK.detach())
        theta = self.amplitude if self.theta is None else self.theta
        return positive(theta.to(wide_BK.dtype)), positive(self.amplitude.to(wide_BK.dtype))

    @torch.no_grad()
    def _start(self, wide_BK: Tensor) -> None:
        # A batch of nothing but padding must not be the one that is measured.
        if not bool(wide_BK.any()):
            return
        theta, amplitude = self._first_scales(wide_BK)
        self.amplitude.copy_(amplitude)
        if self.theta is not None:
            self.theta.copy_(theta)
        self.measured.fill_(True)

    @torch.no_grad()
    def _first_scales(self, wide_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Theta and amplitude as a batch suggests them."""
        size_nK = wide_BK.abs().reshape(-1, wide_BK.shape[-1])
        mean = size_nK.mean(dtype=torch.float64).view(1)
        if self.per == "channel":
            means_K = size_nK.mean(0, dtype=torch.float64)
            # A channel that was silent in the first batch takes the mean of all: from a threshold
            # of 0 it would fire always.
            mean = means_K.where(means_K > 0, mean)
        theta = (mean * self.threshold).clamp_min(TINY).to(wide_BK.dtype)
        amplitude = theta / self.levels if self.steps > 1 else self._fired_mean(size_nK, theta)
        if self.per == "channel":
            amplitude = amplitude * (1 + JITTER * _spread(self.columns).to(amplitude))
        return theta, amplitude.clamp_min(TINY)

    def _fired_mean(self, size_nK: Tensor, theta: Tensor) -> Tensor:
        """Mean magnitude above theta; theta itself where nothing is."""
        fired_nK = size_nK > theta
        axes = (0,) if self.per == "channel" else (0, 1)
        total, count = (size_nK * fired_nK).sum(axes).view(-1), fired_nK.sum(axes).view(-1)
        return (total / count.clamp_min(1)).where(count > 0, theta)


def _spread(count: int) -> Tensor:
    """Numbers in -1 .. 1, no two alike (multiples of the golden ratio, modulo 1)."""
    return 2 * (torch.arange(1, count + 1, dtype=torch.float64) * GOLDEN).remainder(1) - 1


def learned_step(h_BK: Tensor, amplitude: Tensor, *, top: int) -> Tensor:
    """Round h (..., K) to the multiples of `amplitude`, (1,) or (K,), with the gradients of LSQ."""
    return cast(Tensor, _LearnedStep.apply(h_BK, amplitude, top))  # type: ignore[no-untyped-call]


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h_BK: Tensor, amplitude: Tensor, top: int) -> Tensor:
        spikes = encode_at(h_BK, amplitude, top=top)
        ctx.save_for_backward(h_BK, amplitude, spikes.q_BK)
        ctx.top = top
        return spikes.values()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        h_BK, amplitude, q_BK = ctx.saved_tensors
        inside_BK = h_BK.abs() <= amplitude * ctx.top
        miss_BK = q_BK - torch.where(inside_BK, h_BK / amplitude, 0)
        shared = max(h_BK.numel() // amplitude.numel(), 1)
        total = (gradients[0] * miss_BK).sum_to_size(amplitude.shape)
        # LSQ's scale: a number that so many elements share would take far larger steps than a
        # weight.
        return gradients[0] * inside_BK, total / (shared * ctx.top) ** 0.5, None
