"""RWKV-7 "Goose" time mixing (Peng et al. 2025, arXiv 2503.14456), every part switchable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model.parts.config import GooseConfig
from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.precision import SITE_NAMES, Precision, resolve
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import MixerState
from asnn_goose.model.parts.token_shift import TokenShift
from asnn_goose.ops.rotary import rotate
from asnn_goose.ops.wkv7 import wkv7
from asnn_goose.ops.wkv7.documents import wkv7_by_document

DECAY_RATE = math.exp(-0.5)
"""Largest decay exponent: log w lies in (-0.6065, 0)."""


class MixerOutput(NamedTuple):
    """Result of one mixer: output, values of the first block, state, and its signals by head.

    The signals are r, k sqrt(N), v, log w, the removal direction kappa, the rate a, and the written
    key.
    """

    out_BTD: Tensor
    v_first_BTD: Tensor
    state: MixerState
    receptance_BTHN: Tensor
    key_BTHN: Tensor
    value_BTHN: Tensor
    log_decay_BTHN: Tensor
    removal_BTHN: Tensor
    rate_BTHN: Tensor
    written_BTHN: Tensor


class RWKV7Mixer(nn.Module):
    """Generalised delta rule S_t = S_{t-1}(diag w - kappa (a kappa)^T) + v k^T; y = S r.

    `layer` is the block's index: block 0 gives the values that later blocks mix in.
    """

    def __init__(self, config: GooseConfig, *, layer: int) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.mixer_size
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.gate_kind, self.rope_theta = config.gate, config.rope_theta if config.rope else None
        self.detach_v_first = config.v_first == "detached"

        def matrix(name: str, columns: int, rows: int, *, bias: bool) -> Projection:
            precision = resolve(config.precision, name, layer=layer)
            return Projection(columns, rows, bias=bias, precision=precision)

        self.receptance = matrix("receptance", width, inner, bias=config.qkv_bias)
        self.key = matrix("key", width, inner, bias=config.qkv_bias)
        self.value = matrix("value", width, inner, bias=config.qkv_bias)
        self.output = matrix("output", inner, width, bias=config.output_bias)

        self.query_norm, self.key_norm = (
            nn.RMSNorm(self.head_size, eps=config.norm_eps) if config.qk_norm else None
            for _ in range(2)
        )
        self.site_precision = {
            name: resolve(config.precision, name, layer=layer) for name in SITE_NAMES
        }
        self.k_neuron = self.site_precision["k"].spikes(inner)
        self.v_neuron = self.site_precision["v"].spikes(inner)

        self.decay = LowRank(
            width=width, rank=config.decay_rank, out=inner, bias=True, activation=torch.tanh
        )
        self.rate = LowRank(width=width, rank=config.rate_rank, out=inner, bias=True)
        self.value_mix = (
            LowRank(width=width, rank=config.value_rank, out=inner, bias=True)
            if layer > 0 and config.v_first != "none"
            else None
        )
        self.gate = (
            LowRank(
                width=width, rank=config.gate_rank, out=inner, bias=False, activation=torch.sigmoid
            )
            if config.gate != "none"
            else None
        )
        consumers = 6 if self.gate is not None else 5
        self.shift = TokenShift(width=width, consumers=consumers) if config.token_shift else None

        self.removal = nn.Parameter(torch.ones(inner)) if config.removal_key else None
        self.replacement = nn.Parameter(torch.ones(inner)) if config.key_replacement else None
        self.bonus = nn.Parameter(torch.zeros(self.heads, self.head_size)) if config.bonus else None
        self.norm = (
            nn.GroupNorm(self.heads, inner, eps=self.head_size * 1e-5)
            if config.group_norm
            else None
        )

    def forward(
        self,
        x_BTD: Tensor,
        v_first_BTD: Tensor | None = None,
        state: MixerState | None = None,
        mask_BT: Tensor | None = None,
        position_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> MixerOutput:
        """Mix tokens of x (B,T,D).

        v_first_BTD  values of block 0 (B,T,inner); None in block 0
        state        what `MixerOutput.state` of the tokens before held; None at a start
        mask_BT      False where a position is padding on the left: it leaves the state alone
        position_BT  positions for `rope`; needed only then
        documents_BT document of every token: each starts from an empty state; None for one
        """
        if mask_BT is not None:
            x_BTD = x_BTD * mask_BT.unsqueeze(-1)
        inputs = self._shifted(x_BTD, None if state is None else state.shift_BD, documents_BT)
        r_BTC, k_BTC = self.receptance(inputs[0]), self.key(inputs[2])
        if self.k_neuron is not None:
            k_BTC = self.k_neuron(k_BTC)
        v_BTC, v_first_BTD = self._values(inputs[3], v_first_BTD)
        log_w_BTC = -DECAY_RATE * torch.sigmoid(self.decay(inputs[1]).float())
        a_BTC = torch.sigmoid(self.rate(inputs[4]))
        if mask_BT is not None:
            keep_BT1 = mask_BT.unsqueeze(-1)
            k_BTC, v_BTC, log_w_BTC = k_BTC * keep_BT1, v_BTC * keep_BT1, log_w_BTC * keep_BT1

        r = self._positioned(r_BTC, self.query_norm, position_BT)
        k = self._positioned(k_BTC, self.key_norm, position_BT)
        v, log_w, a = self._by_head(v_BTC), self._by_head(log_w_BTC), self._by_head(a_BTC)
        kappa = self._removal_direction(k)
        written = self._replaced(k, a)
        before = None if state is None else state.wkv_BHNN
        operands = (r, log_w, written, v, -kappa, kappa * a, before)
        if documents_BT is None:
            y, wkv = wkv7(*operands)
        else:
            y, wkv = wkv7_by_document(*operands, documents_BT=documents_BT)
        out_BTD = self._project(y.to(x_BTD.dtype), r, written, v, inputs[-1])
        new = MixerState(x_BTD[:, -1], wkv)
        # A recurrence multiplies r and k as they are, attention divides by sqrt(N): in its units
        # r k / sqrt(N) is the recurrence's own score.
        shown = k * math.sqrt(self.head_size)
        return MixerOutput(out_BTD, v_first_BTD, new, r, shown, v, log_w, kappa, a, written)

    def set_sites(self, of: Callable[[str], Precision]) -> None:
        """Give the sites k and v the precision that `of` has for them."""
        for name, old in self.site_precision.items():
            new = of(name)
            if new != old:
                setattr(self, f"{name}_neuron", new.spikes(self.heads * self.head_size))
            self.site_precision[name] = new

    def _shifted(
        self, x_BTD: Tensor, last_BD: Tensor | None, documents_BT: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Inputs of r, w, k, v, a and, with a gate, g."""
        if self.shift is None:
            return (x_BTD,) * 6
        return tuple(self.shift(x_BTD, last_BD, documents_BT))

    def _by_head(self, x_BTC: Tensor) -> Tensor:
        return x_BTC.view(*x_BTC.shape[:-1], self.heads, self.head_size)

    def _values(self, x_BTD: Tensor, v_first_BTC: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values of this block and those of the first one."""
        v_BTC = self.value(x_BTD)
        if self.v_neuron is not None:
            v_BTC = self.v_neuron(v_BTC)
        if v_first_BTC is None:
            return v_BTC, v_BTC.detach() if self.detach_v_first else v_BTC
        if self.value_mix is None:
            return v_BTC, v_first_BTC
        share_BTC = torch.sigmoid(self.value_mix(x_BTD))
        return torch.lerp(v_BTC, v_first_BTC, share_BTC), v_first_BTC

    def _positioned(
        self, x_BTC: Tensor, norm: nn.RMSNorm | None, position_BT: Tensor | None
    ) -> Tensor:
        """R or k by head, normalised and rotated where the configuration says so."""
        x_BTHN = self._by_head(x_BTC)
        if norm is not None:
            x_BTHN = norm(x_BTHN)
        if self.rope_theta is None:
            return x_BTHN
        if position_BT is None:
            raise ValueError("rope = true needs position_BT: pass the positions of the tokens")
        return rotate(x_BTHN, position_BT, theta=self.rope_theta)

    def _removal_direction(self, k_BTHN: Tensor) -> Tensor:
        """Unit vector kappa per head: the direction in which the state forgets."""
        if self.removal is not None:
            k_BTHN = k_BTHN * self._by_head(self.removal)
        # A head without a spike has length 0, where the gradient would be 1 / eps.
        eps = 1e-12 if self.k_neuron is None else 1e-6
        return F.normalize(k_BTHN.float(), dim=-1, eps=eps)

    def _replaced(self, k_BTHN: Tensor, a_BTHN: Tensor) -> Tensor:
        """The written key k (1 + (a - 1) k_a)."""
        if self.replacement is None:
            return k_BTHN
        return k_BTHN * (1 + (a_BTHN - 1) * self._by_head(self.replacement))

    def _project(
        self, y_BTHN: Tensor, r_BTHN: Tensor, k_BTHN: Tensor, v_BTHN: Tensor, x_gate_BTD: Tensor
    ) -> Tensor:
        """Group norm, bonus, gate and output projection."""
        if self.norm is not None:
            y_BTHN = self._by_head(self.norm(y_BTHN.flatten(-2).flatten(0, 1))).view_as(y_BTHN)
        if self.bonus is not None:
            score = (r_BTHN * k_BTHN * self.bonus).sum(-1, keepdim=True)
            y_BTHN = torch.addcmul(y_BTHN, score, v_BTHN)
        y_BTC = y_BTHN.flatten(-2)
        if self.gate is not None:
            g_BTC = self.gate(x_gate_BTD)
            y_BTC = y_BTC * (1 + g_BTC if self.gate_kind == "one_plus" else g_BTC)
        projected: Tensor = self.output(y_BTC)
        return projected
