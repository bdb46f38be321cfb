"""RWKV-5 "Eagle" and RWKV-6 "Finch" time mixing (Peng et al. 2024, arXiv 2404.05892)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model.mixers.mixer import Mixer, MixerOutput
from asnn_goose.model.parts.attention import NORM_START, Attention
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.described import Described
from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.model.parts.token_shift import FollowingShift, TokenShift, start_shares
from asnn_goose.ops.wkv6 import wkv6
from asnn_goose.shape.rwkv6 import RWKV5, RWKV6
from asnn_goose.trace import ATTENTION, Window

NORM_EPS = 64e-5
"""The released code divides by 8 before a group norm with eps 1e-5: the same."""


class _WKV6Mixer(Described, Mixer):
    """S_t = S_{t-1} diag(w_t) + v k^T, y_t = S_{t-1} r + (r u k) v; out = W_o(norm(y) silu(W_g x)).

    log w = -exp(d); in RWKV-5 d is a vector, in RWKV-6 d_0 + tanh(x A) B, and its token shifts
    follow the data too. The state is the last input and the matrix memory (B,H,N,N) with axes
    [value, key].
    """

    signals = ATTENTION
    dynamic: ClassVar[bool]
    receptance: Projection
    key: Projection
    value: Projection
    output: Projection
    gate: Projection | None

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        inner, gated = config.mixer_size, config.gate != "none"
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.gate_kind = config.gate
        self.make_matrices(config, layer=layer)
        if not gated:
            self.gate = None
        self.query_norm, self.key_norm = (
            nn.RMSNorm(self.head_size, eps=config.norm_eps) if config.qk_norm else None
            for _ in range(2)
        )
        self.decay = self._decay(config)
        self.shift = self._shift(config, consumers="kvr" + "g" * gated)
        shape = (self.heads, self.head_size)
        self.bonus = nn.Parameter(torch.zeros(shape)) if config.bonus else None
        self.norm = nn.GroupNorm(self.heads, inner, eps=NORM_EPS) if config.group_norm else None

    def _decay(self, config: StudentSettings) -> LowRank | nn.Parameter:
        if not self.dynamic:
            return nn.Parameter(torch.zeros(config.mixer_size))
        return LowRank(
            width=config.hidden_size,
            rank=config.decay_rank,
            out=config.mixer_size,
            bias=True,
            activation=torch.tanh,
        )

    def _shift(
        self, config: StudentSettings, *, consumers: str
    ) -> TokenShift | FollowingShift | None:
        """The token shift; `consumers` are remembered in the order of its rows."""
        self.consumers = "w" * self.dynamic + consumers
        if not config.token_shift:
            return None
        width, count = config.hidden_size, len(self.consumers)
        if not self.dynamic:
            return TokenShift(width=width, consumers=count)
        return FollowingShift(width=width, consumers=count, rank=config.shift_rank)

    def forward(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """Mix tokens of x (B,T,D); mixers carry nothing to each other."""
        keep_BT1 = None if window.mask_BT is None else window.mask_BT.unsqueeze(-1)
        x_BTD = x_BTD if keep_BT1 is None else x_BTD * keep_BT1
        inputs = self._inputs(x_BTD, state, window)
        k_BTC, v_BTC = self.key(inputs["k"], membranes), self.value(inputs["v"], membranes)
        log_w_BTC = self._log_decay(inputs["w"])
        if keep_BT1 is not None:  # biases would write to the memory, and decays let it fade
            k_BTC, v_BTC, log_w_BTC = k_BTC * keep_BT1, v_BTC * keep_BT1, log_w_BTC * keep_BT1
        r = self._normed(self.receptance(inputs["r"], membranes), self.query_norm)
        k = self._normed(k_BTC, self.key_norm)
        v = self._by_head(v_BTC)
        u_HN = k.new_zeros(k.shape[2:]) if self.bonus is None else self.bonus
        before = None if state is None else state["memory"]
        y_BTHN, memory = wkv6(
            r, self._by_head(log_w_BTC), k, v, u_HN, before, documents_BT=window.documents_BT
        )
        out_BTD = self._project(y_BTHN.to(x_BTD.dtype), inputs["g"], membranes)
        new = {"memory": memory} | ({} if self.shift is None else {"shift": x_BTD[:, -1]})
        # Attention divides scores by sqrt(N), this recurrence does not.
        signals = {"queries": r, "keys": k * math.sqrt(self.head_size), "values": v}
        return MixerOutput(out_BTD, carry, new, signals)

    def _inputs(self, x_BTD: Tensor, state: State | None, window: Window) -> dict[str, Tensor]:
        """What each of w, k, v, r and g reads."""
        found = dict.fromkeys("wkvrg", x_BTD)
        if self.shift is None:
            return found
        last_BD = None if state is None else state["shift"]
        return found | dict(zip(self.consumers, self.shift(x_BTD, last_BD, window), strict=True))

    def _log_decay(self, x_BTD: Tensor) -> Tensor:
        # In fp32 under autocast too: decays multiply up over the tokens, and so would their errors.
        if isinstance(self.decay, LowRank):
            low_rank_BTC: Tensor = self.decay(x_BTD)
            return -torch.exp(low_rank_BTC.float())
        return -torch.exp(self.decay.float()).expand(*x_BTD.shape[:-1], -1)

    def _by_head(self, x_BTC: Tensor) -> Tensor:
        by_head_BTHN: Tensor = x_BTC.unflatten(-1, (self.heads, self.head_size))
        return by_head_BTHN

    def _normed(self, x_BTC: Tensor, norm: nn.RMSNorm | None) -> Tensor:
        x_BTHN = self._by_head(x_BTC)
        return x_BTHN if norm is None else norm(x_BTHN)

    def _project(self, y_BTHN: Tensor, x_gate_BTD: Tensor, membranes: Membranes) -> Tensor:
        """Group norm, gate and output projection."""
        y_BTC = y_BTHN.flatten(-2)
        if self.norm is not None:
            y_BTC = self.norm(y_BTC.flatten(0, 1)).view_as(y_BTC)
        if self.gate is not None:
            g_BTC = self.gate(x_gate_BTD, membranes)
            g_BTC = torch.sigmoid(g_BTC) if self.gate_kind == "sigmoid" else F.silu(g_BTC)
            y_BTC = y_BTC * (1 + g_BTC if self.gate_kind == "one_plus" else g_BTC)
        projected: Tensor = self.output(y_BTC, membranes)
        return projected

    @torch.no_grad()
    def start_matrices(self) -> None:
        """Orthogonal, k and gate a tenth of it, and an output of zeros."""
        for name, matrix in self.matrices().items():
            rows, columns = matrix.weight.shape
            gain = 0.1 if name in ("key", "mixer_gate") else 1.0
            nn.init.orthogonal_(matrix.weight, gain=gain * max(1.0, rows / columns) ** 0.5)
        nn.init.zeros_(self.output.weight)

    @torch.no_grad()
    def start_vectors(self, *, layer: int, layers: int) -> None:
        """Decays e^-6 to e^-1, a bonus that fades along the channels, published token shifts."""
        channels = torch.arange(self.heads * self.head_size)
        share_C, late = channels / max(len(channels) - 1, 1), layer / max(layers - 1, 1)
        decay_C = -6 + 5 * share_C ** (0.7 + 1.3 * late)
        if isinstance(self.decay, LowRank):
            assert self.decay.bias is not None
            self.decay.bias.copy_(decay_C)
            nn.init.zeros_(self.decay.down)
            nn.init.uniform_(self.decay.up, -0.01, 0.01)
        else:
            self.decay.copy_(decay_C)
        if self.bonus is not None:
            bonus_C = late * (1 - share_C) + 0.1 * ((channels + 1) % 3 - 1)
            self.bonus.copy_(bonus_C.view_as(self.bonus))
        if isinstance(self.shift, FollowingShift):
            start_shares(self.shift.mix, "x" + self.consumers, layer=layer, layers=layers)
            nn.init.zeros_(self.shift.down)
            nn.init.uniform_(self.shift.up, -0.01, 0.01)
        elif self.shift is not None:
            start_shares(self.shift.mix, self.consumers, layer=layer, layers=layers)
        if self.norm is not None:
            self.norm.weight.fill_(((1 + layer) / layers) ** 0.7)
            self.norm.bias.zero_()

    @torch.no_grad()
    def inherit(self, attention: Attention) -> None:
        """q, k, v, o into r, k, v and output.

        The token itself counts like any other (u = 1), nothing is shifted, a gate "one_plus" is
        exactly 1; decays start as published.
        """
        attention.give(self)
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            self.gate.into_basis_()
        if self.shift is not None:
            self.shift.mix.zero_()
        if self.bonus is not None:
            self.bonus.fill_(1.0)
        if self.norm is not None:
            self.norm.weight.fill_(NORM_START)

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """The norm before it, and its own group norm."""
        readers = [m for name, m in self.matrices().items() if name != "output"]
        following = (LowRank, FollowingShift)
        adapters = [part for part in (self.decay, self.shift) if isinstance(part, following)]
        yield BalancePlace(gains, readers, adapters)
        if self.norm is not None:
            yield BalancePlace(list(self.norm.parameters()), [self.output], [])


@final
class RWKV5Mixer(_WKV6Mixer):
    """Decays and token shifts that stand still; a matrix-valued state."""

    shape = RWKV5
    dynamic = False


@final
class RWKV6Mixer(_WKV6Mixer):
    """Decays and token shifts that follow the data."""

    shape = RWKV6
    dynamic = True
