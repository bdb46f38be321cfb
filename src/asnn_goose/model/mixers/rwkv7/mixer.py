"""RWKV-7 "Goose" time mixing (Peng et al. 2025, arXiv 2503.14456), every part switchable."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asnn_goose.model.mixers.mixer import MixerOutput
from asnn_goose.model.mixers.rwkv7.inherit import inherit
from asnn_goose.model.mixers.rwkv7.start import start_matrices, start_vectors
from asnn_goose.model.mixers.rwkv7.weights import RECURRENCE, RWKV7Weights
from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.state import State
from asnn_goose.ops.delta_keys import DeltaKeys, delta_keys
from asnn_goose.ops.rotary import rotate
from asnn_goose.ops.wkv7.documents import wkv7_by_document
from asnn_goose.shape.rwkv7 import LEAST_KEY, LEAST_SPIKING_KEY
from asnn_goose.trace import HEAD_OUTPUTS, Window

DECAY_RATE = math.exp(-0.5)
"""Largest decay exponent: log w lies in (-0.6065, 0)."""

_SIGNALS = ("queries", "keys", "values", *RECURRENCE, HEAD_OUTPUTS)


class RWKV7Mixer(RWKV7Weights):
    """Generalised delta rule S_t = S_{t-1}(diag w - kappa (a kappa)^T) + v k^T; y = S r.

    The values of block 0, which later blocks mix in, are what mixers carry to each other. The
    state is the last input, where tokens are shifted, the last values, where those are, and the
    matrix memory (B,H,N,N) with axes [value, key].
    """

    def forward(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """Mix tokens of x (B,T,D); `carry` are the values of block 0 (B,T,inner)."""
        mask_BT = window.mask_BT
        if mask_BT is not None:
            # Zeroed before the shift: the first real token then leans on zeros, as at the start of
            # a text.
            x_BTD = x_BTD * mask_BT.unsqueeze(-1)
        inputs = self._shifted(x_BTD, state, window)
        r_BTC, k_BTC = self.receptance(inputs[0], membranes), self.key(inputs[2], membranes)
        k_BTC = membranes.spikes("k", self.k_neuron, k_BTC)
        v_BTC, last_BC = self._shifted_values(inputs[3], state, window, membranes)
        v_BTC, v_first_BTC = self._values(v_BTC, inputs[3], carry, membranes)
        # In fp32 under autocast too: decays multiply up over the tokens, and so would their errors.
        log_w_BTC = -DECAY_RATE * torch.sigmoid(self.decay(inputs[1]).float())
        a_BTC = torch.sigmoid(self.rate(inputs[4]))
        if mask_BT is not None:  # biases and shifts would write to the memory and let it fade
            keep_BT1 = mask_BT.unsqueeze(-1)
            k_BTC, v_BTC, log_w_BTC = k_BTC * keep_BT1, v_BTC * keep_BT1, log_w_BTC * keep_BT1

        r = self._positioned(r_BTC, self.query_norm, window)
        k = self._positioned(k_BTC, self.key_norm, window)
        v, log_w, a = self.by_head(v_BTC), self.by_head(log_w_BTC), self.by_head(a_BTC)
        # From the key before its replacement: the direction that is forgotten is the key's own,
        # however strongly the new one is written.
        keys = self._delta_keys(k, a)
        written = keys.written
        before = None if state is None else state["memory"]
        operands = (r, log_w, written, v, keys.alpha, keys.beta, before)
        y, memory = wkv7_by_document(*operands, documents_BT=window.documents_BT)
        y_BTC = self._gated(y.to(x_BTD.dtype), r, written, v, inputs[-1])
        out_BTD: Tensor = self.output(y_BTC, membranes)
        new = {"memory": memory} | ({} if self.shift is None else {"shift": x_BTD[:, -1]})
        new |= {} if self.value_shift is None else {"value": last_BC}
        # A recurrence multiplies r and k as they are, attention divides by sqrt(N): in its units
        # r k / sqrt(N) is the recurrence's own score.
        heads = self.by_head(y_BTC)
        found = (r, k * math.sqrt(self.head_size), v, log_w, keys.kappa, a, written, heads)
        return MixerOutput(out_BTD, v_first_BTC, new, dict(zip(_SIGNALS, found, strict=True)))

    def start_matrices(self) -> None:
        """As RWKV-7 does."""
        start_matrices(self)

    def start_vectors(self, *, layer: int, layers: int) -> None:
        """As RWKV-7 does."""
        start_vectors(self, layer=layer, layers=layers)

    def inherit(self, attention: Attention) -> None:
        """q, k, v, o become r, k, v and the output projection; gates start at one."""
        inherit(self, attention)

    def _shifted(self, x_BTD: Tensor, state: State | None, window: Window) -> tuple[Tensor, ...]:
        """Inputs of r, w, k, v, a and, with a gate, g."""
        if self.shift is None:
            return (x_BTD,) * 6
        last_BD = None if state is None else state["shift"]
        return tuple(self.shift(x_BTD, last_BD, window))

    def _shifted_values(
        self, x_BTD: Tensor, state: State | None, window: Window, membranes: Membranes
    ) -> tuple[Tensor, Tensor]:
        """Values, each channel leaning on the token before by its own share, and the last of them.

        Before the first token there is no value, as in a token shift; neither in padding.
        """
        v_BTC: Tensor = self.value(x_BTD, membranes)
        if self.value_shift is None:
            return v_BTC, v_BTC[:, -1]
        if window.mask_BT is not None:
            v_BTC = v_BTC * window.mask_BT.unsqueeze(-1)
        before_BC = None if state is None else state["value"]
        return self.value_shift(v_BTC, before_BC, window)[0], v_BTC[:, -1]

    def _values(
        self,
        v_BTC: Tensor,
        x_BTD: Tensor,
        v_first_BTC: Tensor | None,
        membranes: Membranes,
    ) -> tuple[Tensor, Tensor]:
        """Values of this block, as spikes where it has them, and those of the first one."""
        v_BTC = membranes.spikes("v", self.v_neuron, v_BTC)
        if v_first_BTC is None:
            # Detached (ARWKV), the first block learns from its own output alone; else all later
            # blocks pull at its values.
            return v_BTC, v_BTC.detach() if self.detach_v_first else v_BTC
        if self.value_mix is None:
            return v_BTC, v_first_BTC
        # Spikes first and mixing after, as the engine does: first values come coded already.
        share_BTC = torch.sigmoid(self.value_mix(x_BTD))
        return torch.lerp(v_BTC, v_first_BTC, share_BTC), v_first_BTC

    def _positioned(self, x_BTC: Tensor, norm: nn.RMSNorm | None, window: Window) -> Tensor:
        """R or k by head, normalised and rotated where the configuration says so."""
        x_BTHN = self.by_head(x_BTC)
        if norm is not None:
            over_all = norm.normalized_shape[0] == x_BTC.shape[-1]
            x_BTHN = self.by_head(norm(x_BTC)) if over_all else norm(x_BTHN)
        if not self.rope_theta:
            return x_BTHN
        if window.position_BT is None:
            raise ValueError("rope = true needs position_BT: pass the positions of the tokens")
        channels = self.rope_channels
        return rotate(x_BTHN, window.position_BT, theta=self.rope_theta, channels=channels)

    def _delta_keys(self, k_BTHN: Tensor, a_BTHN: Tensor) -> DeltaKeys:
        """The direction kappa in which the state forgets, and the key that is written."""
        vectors = (None if x is None else self.by_head(x) for x in (self.removal, self.replacement))
        least = LEAST_KEY if self.k_neuron is None else LEAST_SPIKING_KEY
        return delta_keys(k_BTHN, a_BTHN, *vectors, least=least)

    def _gated(
        self,
        y_BTHN: Tensor,
        r_BTHN: Tensor,
        k_BTHN: Tensor,
        v_BTHN: Tensor,
        x_gate_BTD: Tensor,
    ) -> Tensor:
        """Group norm, bonus and gate: (B,T,C) for the output projection."""
        # Each head by itself and each token by itself, hence time is folded into the batch:
        # GroupNorm would else average over it.
        if self.norm is not None:
            y_BTHN = self.by_head(self.norm(y_BTHN.flatten(-2).flatten(0, 1))).view_as(y_BTHN)
        if self.bonus is not None:
            score = (r_BTHN * k_BTHN * self.bonus).sum(-1, keepdim=True)
            # The bonus sees what was written, as the state does: its keys are those after their
            # replacement.
            y_BTHN = torch.addcmul(y_BTHN, score, v_BTHN)
        y_BTC = y_BTHN.flatten(-2)
        if self.gate is not None:
            g_BTC = self.gate(x_gate_BTD)
            y_BTC = y_BTC * (1 + g_BTC if self.gate_kind == "one_plus" else g_BTC)
        return y_BTC
