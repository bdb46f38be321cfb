"""RWKV-4 time mixing (Peng et al. 2023, arXiv 2305.13048)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from asnn_goose.model.mixers.mixer import Mixer, MixerOutput
from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.described import Described
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.model.parts.token_shift import TokenShift, start_shares
from asnn_goose.ops.documents import token_marks
from asnn_goose.ops.wkv4 import wkv4
from asnn_goose.shape.rwkv4 import RWKV4
from asnn_goose.trace import Window


class RWKV4Mixer(Described, Mixer):
    """out = W_o (sigmoid(r) wkv(k, v)): every channel averages its own past (`ops.wkv4`).

    It compares no queries with keys: a key says how much its token counts, to all later ones alike.
    `shift.mix` holds shares of the token *before*, 1 less the published mu, which weighs the token
    itself. The state is the last input, and numerator, denominator and exponent (B,3,C).
    """

    shape = RWKV4
    receptance: Projection
    key: Projection
    value: Projection
    output: Projection

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        self.make_matrices(config, layer=layer)
        width, inner = config.hidden_size, config.mixer_size
        self.decay = nn.Parameter(torch.zeros(inner))
        self.bonus = nn.Parameter(torch.zeros(inner))
        self.shift = TokenShift(width=width, consumers=3) if config.token_shift else None

    def forward(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """Mix tokens of x (B,T,D); mixers carry nothing to each other."""
        if window.mask_BT is not None:
            x_BTD = x_BTD * window.mask_BT.unsqueeze(-1)
        x_k, x_v, x_r = self._shifted(x_BTD, state, window)
        k_BTC, v_BTC = self.key(x_k, membranes), self.value(x_v, membranes)
        gate_BTC = torch.sigmoid(self.receptance(x_r, membranes))
        y_BTC, memory = wkv4(
            self.decay.float().exp(),
            self.bonus,
            k_BTC,
            v_BTC,
            None if state is None else state["memory"],
            marks_BT=token_marks(window.mask_BT, window.documents_BT),
        )
        out_BTD = self.output(gate_BTC * y_BTC.to(gate_BTC.dtype), membranes)
        new = {"memory": memory} | ({} if self.shift is None else {"shift": x_BTD[:, -1]})
        return MixerOutput(out_BTD, carry, new, {})

    def _shifted(self, x_BTD: Tensor, state: State | None, window: Window) -> tuple[Tensor, ...]:
        """Inputs of k, v and r."""
        if self.shift is None:
            return (x_BTD,) * 3
        return self.shift(x_BTD, None if state is None else state["shift"], window)  # type: ignore[no-any-return]

    @torch.no_grad()
    def start_matrices(self) -> None:
        """As published: k, r and the output 0, v orthogonal, by the root of its shape where tall.

        So every token counts alike at first, and the gate is a half.
        """
        for matrix in (self.receptance, self.key, self.output):
            nn.init.zeros_(matrix.weight)
        rows, columns = self.value.weight.shape
        nn.init.orthogonal_(self.value.weight, gain=max(1.0, rows / columns) ** 0.5)

    @staticmethod
    def start_embedding(weight_VD: Tensor) -> None:
        """Orthogonal with gain 1e-4 times the root of its longer side."""
        nn.init.orthogonal_(weight_VD, gain=1e-4 * max(weight_VD.shape) ** 0.5)

    @torch.no_grad()
    def start_vectors(self, *, layer: int, layers: int) -> None:
        """Decays from e^-5 to e^3 along the channels, later blocks slower for longer."""
        channels = torch.arange(len(self.decay))
        share_C, late = channels / max(len(channels) - 1, 1), layer / max(layers - 1, 1)
        self.decay.copy_(-5 + 8 * share_C ** (0.7 + 1.3 * late))
        self.bonus.copy_(math.log(0.3) + 0.5 * ((channels + 1) % 3 - 1))
        if self.shift is not None:
            start_shares(self.shift.mix, "kvr", layer=layer, layers=layers)

    @torch.no_grad()
    def inherit(self, attention: Attention) -> None:
        """Values and output; what compares tokens has no place here: k and r start at 0.

        That is as published. The gate is then a half, which the output matrix makes up for.
        """
        for matrix in (self.receptance, self.key):
            nn.init.zeros_(matrix.weight)
            if matrix.bias is not None:
                nn.init.zeros_(matrix.bias)
            matrix.into_basis_()
        self.value.inherit(*attention.values)
        self.output.inherit(*attention.output)
        self.output.weight.mul_(2)
        if self.output.ternary is not None:
            self.output.ternary.start_(self.output.weight)
        if self.shift is not None:
            self.shift.mix.zero_()

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """The norm before it."""
        yield BalancePlace(gains, [self.receptance, self.key, self.value], [])
