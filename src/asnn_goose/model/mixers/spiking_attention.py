"""Spiking attention of SpikeBERT (Lv et al. 2023, arXiv 2308.15122), made causal."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from asnn_goose.model.mixers.mixer import Mixer, MixerOutput
from asnn_goose.model.neurons.lif import inner_lif
from asnn_goose.model.parts.attention import Attention
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.described import Described
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.state import State
from asnn_goose.ops.wkv7.documents import wkv7_by_document
from asnn_goose.shape.spiking_attention import SPIKING_ATTENTION
from asnn_goose.trace import Window

SCALE = 0.125
"""By what the published code multiplies the counts."""

FASTEST = 0.6065306597126334
"""Largest -log of a decay, as in RWKV-7: all forms of WKV-7 are exact up to it."""

SLOW, FAST = 2.0**-7, 2.0**-2
"""-log of the decays of the last and the first head at the start."""


class SpikingAttention(Described, Mixer):
    """Binary q, k and v that meet without a softmax, along the inner steps of every token.

    q, k, v = LIF(LN(W x)); z_t = LIF(sum_{i<=t} w^{t-i} v_i (k_i q_t) / 8); out = LIF(LN(W_o z)).
    Published it is bidirectional and knows no positions. Here a token sees those before it, faded
    by a decay w of its head, which learns: plain counts grow with t, until everything passes the
    threshold, and a decay tells near from far, which rotations of binary vectors cannot. Without
    softmax the sum is WKV-7 with alpha = beta = 0; the state are the faded counts (B*S,H,N,N).
    """

    shape = SPIKING_ATTENTION
    output: Projection
    output_norm: nn.LayerNorm

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        width, inner = config.hidden_size, config.mixer_size
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        for slot in self.slots(config, layer=layer):
            self.make_matrix(slot, config, layer=layer)
            self.add_module(f"{slot.name}_norm", nn.LayerNorm(slot.rows))
        lif = partial(inner_lif, steps=config.inner_steps)
        self.spikes, self.sums_spikes = lif(inner), lif(inner, threshold=0.5)
        self.output_spikes = lif(width)
        self.decay = nn.Parameter(torch.zeros(self.heads))

    def forward(
        self,
        x_BTD: Tensor,
        carry: Tensor | None,
        state: State | None,
        window: Window,
        membranes: Membranes,
    ) -> MixerOutput:
        """Mix tokens of x (B*S,T,D)."""
        q, k, v = (self._read(name, x_BTD, window, membranes) for name in _READERS)
        if window.mask_BT is not None:
            k = k * window.mask_BT[..., None, None]
        y_BTHN, memory = self._sums(q, k, v, state, window)
        y_BTC = SCALE * y_BTHN.flatten(-2).to(x_BTD.dtype)
        z_BTC, _ = self.sums_spikes.forward_with_state(y_BTC, None, window)
        out_BTD = self.output_norm(self.output(z_BTC, membranes))
        out_BTD, _ = self.output_spikes.forward_with_state(out_BTD, None, window)
        return MixerOutput(out_BTD, carry, {"memory": memory}, {})

    def _read(self, name: str, x_BTD: Tensor, window: Window, membranes: Membranes) -> Tensor:
        """Spikes of q, k or v by head."""
        x_BTC = self.get_submodule(name)(x_BTD, membranes)
        x_BTC = self.get_submodule(f"{name}_norm")(x_BTC)
        spikes_BTC, _ = self.spikes.forward_with_state(x_BTC, None, window)
        by_head_BTHN: Tensor = spikes_BTC.unflatten(-1, (self.heads, self.head_size))
        return by_head_BTHN

    def _sums(
        self, q: Tensor, k: Tensor, v: Tensor, state: State | None, window: Window
    ) -> tuple[Tensor, Tensor]:
        """Faded counts read by the queries (B*S,T,H,N), and the counts themselves."""
        log_w_H1 = -FASTEST * torch.sigmoid(self.decay.float()).unsqueeze(-1)
        log_w = log_w_H1.expand(q.shape)
        if window.mask_BT is not None:
            log_w = log_w * window.mask_BT[..., None, None]
        nothing = torch.zeros_like(q)
        before = None if state is None else state["memory"]
        operands = (q, log_w, k, v, nothing, nothing, before)
        return wkv7_by_document(*operands, documents_BT=window.documents_BT)

    def start_matrices(self) -> None:
        """As PyTorch starts linear layers, which is what the released code leaves them at."""
        for matrix in self.matrices().values():
            matrix.reset_parameters()

    @staticmethod
    def start_embedding(weight_VD: Tensor) -> None:
        """A standard Gaussian, likewise: half of the binary words are ones."""
        nn.init.normal_(weight_VD)

    @torch.no_grad()
    def start_vectors(self, *, layer: int, layers: int) -> None:
        """Heads that forget within 4 to within 128 tokens."""
        share_H = torch.linspace(0, 1, self.heads)
        rate_H = FAST * (SLOW / FAST) ** share_H
        self.decay.copy_(torch.logit(rate_H / FASTEST))

    def inherit(self, attention: Attention) -> None:
        """Refused: what it adds to the stream are spikes of 1, which no teacher's stream knows."""
        raise ValueError(
            "mixer = 'spiking_attention': it inherits nothing; set start = 'scratch' and "
            "preset = 'spikebert', and let it learn from the teacher"
        )

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """The norm before it."""
        if gains:
            yield BalancePlace(gains, [self.matrices()[name] for name in _READERS], [])


_READERS = ("queries", "keys", "values")
