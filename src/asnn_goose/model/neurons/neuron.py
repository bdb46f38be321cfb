"""What every spiking neuron answers to, and how a gradient passes one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from asnn_goose.ops.precision_schedule import checked_share, remainder
from asnn_goose.ops.spike_codes import Spikes, levels
from asnn_goose.ops.spike_product import Coding
from asnn_goose.trace import Window

TINY = 1e-6
"""Below this no amplitude or threshold is learned or measured (LSQ, arXiv 1902.08153)."""


class Neuron(nn.Module, ABC):
    """From an activation to spikes, with a gradient; each vector of the last axis is one token's.

    columns    K, the length of a token's vector
    steps      ternary steps of spikes, put together as `code` says (`ops.spike_codes`)
    threshold  in multiples of the mean magnitude: one step fires above it, more reach up to it

    What is measured on the first batch is measured on the first batch of training that is not
    silent, for which it `waits`; until then, every batch is coded by its own. What is counted over
    batches holds for all batches of a step (`train.step_counts`). In eval mode forward(h) is, to
    the bit, encode(h).values() in h's dtype. `progress` is how much of the training at this
    precision is done, 1.0 before any; it is not saved.

    Raises ValueError for settings that do not fit together.
    """

    training_only: str = ""
    """Why the engine cannot run it; empty where it can."""

    stateful: ClassVar[bool] = False
    """Whether what it says of a token depends on those before it: see `forward_with_state`."""

    starts_parameters: ClassVar[bool] = False
    """Whether its first training batch sets numbers that train: a student in parts forgets them."""

    usual_threshold: ClassVar[float] = 0.7
    """Threshold where a precision sets none."""

    fade: float = 0.0
    """Share of the training in which an analogue part of h fades away, in those that set it."""

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = usual_threshold,
    ) -> None:
        super().__init__()
        if columns < 1:
            raise ValueError(f"columns = {columns}: must be at least 1")
        check_positive("threshold", threshold)
        self.columns, self.steps, self.code, self.threshold = columns, steps, code, threshold
        self.levels = levels(code, steps)
        # Done, until somebody tells otherwise: a student that is loaded to be measured has nothing
        # left to anneal.
        self.progress = 1.0

    def anneal(self, share: float) -> None:
        """Hear, before a training forward, what share of it is done (0 to 1)."""
        self.progress = checked_share(share)

    def fading(self, h_BK: Tensor, spikes_BK: Tensor) -> Tensor:
        """(1 - r) spikes + r h with what is left of h, and so the gradients; r is 0 in eval mode.

        r falls along a cosine from 1 to 0 at the share `fade` (`ops.precision_schedule`).
        """
        # In training alone: a student in eval mode is the one that is exported.
        left = remainder(self.progress, until=self.fade) if self.training else 0.0
        return spikes_BK.lerp(h_BK, left) if left else spikes_BK

    def meet_(self, h_BK: Tensor, weight_OK: Tensor) -> None:
        """Hear, before a training forward, of the matrix that the spikes of h will multiply."""

    def coding(self, *, rotate: bool) -> Coding | None:
        """What it does, behind a rotation or not, where that is said by numbers alone.

        Neurons of one coding make the same of the same input. None for one that learns, measures,
        remembers or fades, or whose gradient is another than straight-through.
        """
        return None

    @abstractmethod
    def forward(self, h_BK: Tensor) -> Tensor:
        """(..., K) -> what the spikes stand for, same shape and dtype."""

    def forward_with_state(
        self, h_BTK: Tensor, state_BK: Tensor | None, window: Window | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of a stateful neuron: `forward`, and the state after the last token.

        state_BK  the state after the token before, in fp32 at least; None at rest
        window    padding leaves the state alone, and every document begins at rest
        Raises NotImplementedError for a neuron without state.
        """
        raise NotImplementedError(f"{type(self).__name__} carries no state: call it as it is")

    @abstractmethod
    def encode(self, h_BK: Tensor) -> Spikes:
        """Integers and amplitude, without a gradient, in fp32 at least.

        The amplitude is (..., 1), or (1,) where all tokens share it, or (..., K) or (K,) in
        neurons that are training-only.
        """

    @abstractmethod
    def constants(self) -> dict[str, float]:
        """The numbers behind `packed`."""

    def packed(self) -> dict[str, float]:
        """What the engine must know.

        threshold  relative to each token's mean magnitude, as `ops.spike_codes.encode` takes it
        factor     beside it, where a learned number multiplies the amplitude
        amplitude  instead of it, the value of one unit of q for every token:
                   q = round(h / amplitude), clipped
        fires      beside that, for one step: q is the sign of h where |h| is above it

        Raises ValueError where the neuron is training-only.
        """
        if self.training_only:
            raise ValueError(f"{type(self).__name__} is training-only: {self.training_only}")
        return self.constants()


def check_positive(setting: str, value: float) -> None:
    """Raise ValueError unless a setting is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{setting} = {value}: must be above 0")


def check_rate(steps: int, code: str) -> None:
    """Raise ValueError where steps that count alike are asked to count otherwise."""
    if steps > 1 and code != "rate":
        raise ValueError(f"code = {code!r}: this neuron's {steps} steps count alike; take 'rate'")


def check_fade(fade: float) -> float:
    """The share itself. Raises ValueError unless it is 0 to 1."""
    if not 0 <= fade <= 1:
        raise ValueError(f"fade = {fade}: must be 0 to 1")
    return fade


def check_per(per: str) -> None:
    """Raise ValueError unless a number is learned per tensor or per channel."""
    if per not in ("tensor", "channel"):
        raise ValueError(f"per = {per!r}: choose tensor or channel")


def widened(h_BK: Tensor) -> Tensor:
    """The same numbers in fp32 at least."""
    # Under autocast h is bf16, with three digits: thresholds compared in it fire otherwise than the
    # engine.
    return h_BK.to(torch.promote_types(h_BK.dtype, torch.float32))


def saliency(h_BK: Tensor, weight_OK: Tensor) -> Tensor:
    """Score x (x W^T W) of every token (R,K): what a channel gives to W's output (2407.04752)."""
    wide_RK, weight_OK = widened(h_BK).flatten(0, -2), widened(weight_OK)
    return wide_RK * (wide_RK @ weight_OK.T @ weight_OK)


def positive(x: Tensor) -> Tensor:
    """A learned number, kept at TINY or above; the gradient passes, so that it may come back."""
    # A clamp of its own would cut the gradient below TINY, and a threshold that fell there once
    # would stay.
    return passed(x, x.detach().clamp_min(TINY), torch.ones_like(x))


def passed(h: Tensor, values: Tensor, slope: Tensor) -> Tensor:
    """`values` going forward; going back, the gradient of `h` is that of the values times `slope`.

    Values and slope carry no gradient of their own; the values have h's shape and dtype.
    """
    return cast(Tensor, _Passed.apply(h, values, slope))  # type: ignore[no-untyped-call]


class _Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, values: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None
