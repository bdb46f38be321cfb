"""Leaky integrate-and-fire neurons that run along the tokens."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from asnn_goose.model.neurons.neuron import Neuron, widened
from asnn_goose.model.neurons.surrogate_gradient import SurrogateGradient
from asnn_goose.names import check_name
from asnn_goose.ops.documents import token_marks
from asnn_goose.ops.lif import Cell, lif, tau_of
from asnn_goose.ops.spike_codes import Spikes
from asnn_goose.trace import Window


class LIF(Neuron):
    """The neuron of SpikeGPT (arXiv 2302.13939), one step a token.

    V <- V + (h_t - V) / tau, s = 1[V > threshold], then V <- V (1 - s): a hard reset to 0, whose
    gradient is kept. Spikes stand for 1. The membrane starts at 0 in `forward`;
    `forward_with_state` takes it in and hands it on. The cost is sequential in the tokens
    (`ops.lif`: compiled on the CPU in fp32).

    threshold  absolute here, 1 in the paper
    decay      "fixed", or "learned": 1/tau = sigmoid(d), and d, one number, starts at tau and
               trains (after LSG, Lian et al., IJCAI 2023)
    along      "tokens", or "steps": the inner steps of a token, neighbouring rows of a window (as
               in SpikeBERT, arXiv 2308.15122); membranes are at rest before every token then
    detach     no gradient through the reset
    ternary    s = 1[V > threshold] - 1[V < -threshold], reset by V (1 - |s|)
    surrogate  over V - threshold, ATan in the paper; "learnable" follows the membrane from the
               second step on. With a learned decay its width is
               kappa(tau) = 2 std(h) / sqrt(2 tau - 1): twice the spread of a membrane that white
               currents charge and nothing resets. Kappa gives d no gradient
    """

    stateful: ClassVar[bool] = True
    usual_threshold: ClassVar[float] = 1.0
    training_only = "carries a membrane along tokens"

    decay: nn.Parameter | None

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = usual_threshold,
        tau: float = 2.0,
        decay: str = "fixed",
        along: str = "tokens",
        detach: bool = False,
        ternary: bool = False,
        surrogate: str = "atan",
        surrogate_shape: float | None = None,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        if steps != 1:
            raise ValueError(f"steps = {steps}: a LIF neuron spikes once a token; take 1")
        if tau < 1:
            raise ValueError(f"tau = {tau}: must be at least 1")
        check_name(("tokens", "steps"), along, setting="along")
        check_name(("fixed", "learned"), decay, setting="decay")
        if decay == "learned" and tau == 1:
            raise ValueError(
                "tau = 1.0: a decay that is learned starts above 1, where it has a slope"
            )
        start = torch.tensor(-math.log(tau - 1)) if decay == "learned" else None
        self.register_parameter("decay", None if start is None else nn.Parameter(start))
        self.along = along
        self.cell = Cell(tau=tau, threshold=threshold, signed=ternary, detach=detach)
        self.gradient = SurrogateGradient(surrogate, shape=surrogate_shape)

    def forward(self, h_BTK: Tensor) -> Tensor:
        """Spikes (..., T, K) in h's dtype, from membranes at rest."""
        return self.forward_with_state(h_BTK, None)[0]

    def forward_with_state(
        self, h_BTK: Tensor, state_BK: Tensor | None, window: Window | None = None
    ) -> tuple[Tensor, Tensor]:
        """Spikes (..., T, K) in h's dtype, and the membranes (..., K) after the last token.

        Along steps no token leaves membranes to the next, and the state stays empty.

        state_BK  membranes after the token before, in fp32; None at rest
        window    of h (B,T,K): padding neither charges a membrane nor fires, and every document
                  begins with membranes at rest
        """
        if self.along == "steps":
            return self._along_steps(h_BTK, window), h_BTK.new_zeros(h_BTK.shape[0], 0)
        wide_BTK = widened(h_BTK)
        spikes_BTK, membranes_BTK, state_BK = self._run(wide_BTK, state_BK, window)
        self._follow(wide_BTK, membranes_BTK, None if window is None else window.mask_BT)
        return spikes_BTK.to(h_BTK.dtype), state_BK

    def _along_steps(self, h_RTK: Tensor, window: Window | None) -> Tensor:
        """Spikes (B*S,T,K) of membranes that run over the S copies of every token."""
        copies = 1 if window is None else window.copies
        steps_BTSK = widened(h_RTK).unflatten(0, (-1, copies)).transpose(1, 2)
        spikes_BTSK, membranes_BTSK, _ = self._run(steps_BTSK, None)
        self._follow(steps_BTSK, membranes_BTSK, None)
        return spikes_BTSK.transpose(1, 2).reshape(h_RTK.shape).to(h_RTK.dtype)

    @torch.no_grad()
    def encode(self, h_BTK: Tensor) -> Spikes:
        """Spikes (..., T, K) from membranes at rest, and the amplitude 1."""
        wide_BTK = widened(h_BTK)
        return Spikes(self._run(wide_BTK, None)[0], wide_BTK.new_ones(1))

    def constants(self) -> dict[str, float]:
        """Spikes stand for 1."""
        return {"amplitude": 1.0}

    @property
    def tau(self) -> float:
        """The time constant in tokens, as set or as learned so far."""
        return self.cell.tau if self.decay is None else float(tau_of(widened(self.decay.detach())))

    def _share(self) -> float:
        """Std of a membrane over that of its currents, where a learned decay sets the width."""
        return 1.0 if self.decay is None else (2 * self.tau - 1) ** -0.5

    def _follow(self, h_BTK: Tensor, membranes_BTK: Tensor, mask_BT: Tensor | None) -> None:
        """Let the width follow membranes, or currents where a learned decay does the rest."""
        if self.decay is None:
            self.gradient.follow(membranes_BTK)
        else:
            self.gradient.follow(h_BTK if mask_BT is None else h_BTK[mask_BT.bool()])

    def _run(
        self, h_BTK: Tensor, state_BK: Tensor | None, window: Window | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Spikes, membranes before their reset, and the last membrane after it."""
        if h_BTK.dim() < 2:
            raise ValueError(f"h has shape {tuple(h_BTK.shape)}: needs an axis of tokens")
        rows_RTK = h_BTK.flatten(0, -3) if h_BTK.dim() > 2 else h_BTK.unsqueeze(0)
        rest_RK = rows_RTK.new_zeros(rows_RTK.shape[0], rows_RTK.shape[2])
        before_RK = rest_RK if state_BK is None else state_BK.view_as(rest_RK).to(rest_RK.dtype)
        marks = None if window is None else token_marks(window.mask_BT, window.documents_BT)
        decay = None if self.decay is None else self.decay.to(rows_RTK.dtype)
        surrogate = self.gradient.now(self._share())
        spikes, membranes, last = lif(
            rows_RTK, before_RK, self.cell, surrogate, decay=decay, marks_BT=marks
        )
        return (
            spikes.view_as(h_BTK),
            membranes.view_as(h_BTK),
            last.view(*h_BTK.shape[:-2], h_BTK.shape[-1]),
        )


def inner_lif(columns: int, *, steps: int, threshold: float = 1.0) -> LIF:
    """SpikeBERT's neuron (arXiv 2308.15122): along inner steps, no gradient through its reset.

    Its scripts have tau = 10 for 16 steps, of which four would leave all but the largest currents
    silent. Here a membrane comes as near to its current in whatever number of steps:
    (1 - 1/tau)^steps = 0.9^16.
    """
    tau = 1 / (1 - 0.9 ** (16 / steps))
    return LIF(columns, threshold=threshold, tau=tau, along="steps", detach=True)
