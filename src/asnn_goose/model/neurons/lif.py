"""Leaky integrate-and-fire neurons that run along the tokens."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from asnn_goose.model.neurons.neuron import Neuron, widened
from asnn_goose.model.neurons.surrogate_gradient import SurrogateGradient
from asnn_goose.ops.documents import document_starts
from asnn_goose.ops.spike_codes import Spikes
from asnn_goose.ops.surrogate import Surrogate, binary_spikes, ternary_spikes
from asnn_goose.trace import Window


class LIF(Neuron):
    """The neuron of SpikeGPT (arXiv 2302.13939), one step a token.

    V <- V + (h_t - V) / tau, s = 1[V > threshold], then V <- V (1 - s): a hard reset to 0, whose
    gradient is kept. Spikes stand for 1. The membrane starts at 0 in `forward`;
    `forward_with_state` takes it in and hands it on. The cost is sequential in the tokens.

    threshold  absolute here, 1 in the paper
    ternary    s = 1[V > threshold] - 1[V < -threshold], reset by V (1 - |s|)
    surrogate  over V - threshold, ATan in the paper; "learnable" follows the membrane from the
               second batch on
    """

    stateful: ClassVar[bool] = True
    usual_threshold: ClassVar[float] = 1.0
    training_only = "carries a membrane along tokens"

    def __init__(
        self,
        columns: int,
        *,
        steps: int = 1,
        code: str = "radix3",
        threshold: float = usual_threshold,
        tau: float = 2.0,
        ternary: bool = False,
        surrogate: str = "atan",
        surrogate_shape: float | None = None,
    ) -> None:
        super().__init__(columns, steps=steps, code=code, threshold=threshold)
        if steps != 1:
            raise ValueError(f"steps = {steps}: a LIF neuron spikes once a token; take 1")
        if tau < 1:
            raise ValueError(f"tau = {tau}: must be at least 1")
        self.tau, self.ternary = tau, ternary
        self.gradient = SurrogateGradient(surrogate, shape=surrogate_shape)

    def forward(self, h_BTK: Tensor) -> Tensor:
        """Spikes (..., T, K) in h's dtype, from membranes at rest."""
        return self.forward_with_state(h_BTK, None)[0]

    def forward_with_state(
        self, h_BTK: Tensor, state_BK: Tensor | None, window: Window | None = None
    ) -> tuple[Tensor, Tensor]:
        """Spikes (..., T, K) in h's dtype, and the membranes (..., K) after the last token.

        state_BK  membranes after the token before, in fp32; None at rest
        window    of h (B,T,K): padding neither charges a membrane nor fires, and every document
                  begins with membranes at rest
        """
        spikes_BTK, membranes_BTK, state_BK = self._run(widened(h_BTK), state_BK, window)
        # After the pass: its own gradient must see the width that it was made with.
        self.gradient.follow(membranes_BTK)
        return spikes_BTK.to(h_BTK.dtype), state_BK

    @torch.no_grad()
    def encode(self, h_BTK: Tensor) -> Spikes:
        """Spikes (..., T, K) from membranes at rest, and the amplitude 1."""
        wide_BTK = widened(h_BTK)
        return Spikes(self._run(wide_BTK, None)[0], wide_BTK.new_ones(1))

    def constants(self) -> dict[str, float]:
        """Spikes stand for 1."""
        return {"amplitude": 1.0}

    def _run(
        self, h_BTK: Tensor, state_BK: Tensor | None, window: Window | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Spikes, membranes before their reset, and the last membrane after it."""
        if h_BTK.dim() < 2:
            raise ValueError(f"h has shape {tuple(h_BTK.shape)}: needs an axis of tokens")
        v_BK = torch.zeros_like(h_BTK[..., 0, :]) if state_BK is None else state_BK
        keep, starts = _kept(window), _starts(window)
        h, spikes, membranes = self.gradient.now(), list[Tensor](), list[Tensor]()
        # A loop, for the reset makes V_t a step function of V_{t-1}: there is no scan over it.
        for t, h_BK in enumerate(h_BTK.unbind(-2)):
            if starts is not None:
                # Before the token, whose membrane then starts at rest as at the front of a text.
                v_BK = v_BK.masked_fill(starts[:, t], 0)
            before_BK = v_BK
            v_BK = v_BK + (h_BK - v_BK) / self.tau
            membranes.append(v_BK.detach())
            spikes.append(self._fire(v_BK, h))
            # With s and the membrane of one sign this is |s|, and unlike |s| it has a slope at 0,
            # by which the reset's gradient passes.
            size_BK = spikes[-1] * v_BK.detach().sign() if self.ternary else spikes[-1]
            v_BK = v_BK * (1 - size_BK)
            if keep is not None:
                v_BK = v_BK.where(keep[:, t], before_BK)
                spikes[-1] = spikes[-1].masked_fill(~keep[:, t], 0)
        return torch.stack(spikes, -2), torch.stack(membranes, -2), v_BK

    def _fire(self, v_BK: Tensor, h: Surrogate) -> Tensor:
        fire = ternary_spikes if self.ternary else binary_spikes
        return fire(v_BK, self.threshold, h)


def _kept(window: Window | None) -> Tensor | None:
    """True (B,T,1) where a token is no padding."""
    return None if window is None or window.mask_BT is None else window.mask_BT.unsqueeze(-1)


def _starts(window: Window | None) -> Tensor | None:
    """True (B,T,1) where a document begins inside the window."""
    if window is None or window.documents_BT is None:
        return None
    return document_starts(window.documents_BT).unsqueeze(-1)
