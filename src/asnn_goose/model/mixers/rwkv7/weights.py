"""What an RWKV-7 mixer is made of, and which of it others may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from asnn_goose.model.mixers.mixer import Mixer
from asnn_goose.model.parts.balance_place import BalancePlace
from asnn_goose.model.parts.config import StudentSettings
from asnn_goose.model.parts.described import Described
from asnn_goose.model.parts.low_rank import LowRank
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.parts.token_shift import FollowingShift, TokenShift
from asnn_goose.shape.rwkv7 import RWKV7, normed_channels, rotary_base
from asnn_goose.trace import ATTENTION, HEAD_OUTPUTS

RECURRENCE = ("log_decay", "removal", "rate", "written")
"""Signals by head (B,T,H,N) beside r, k and v, which stand for queries, keys and values: log w, the
unit vector kappa, a, and the key that is written, k (1 + (a - 1) k_a)."""


class RWKV7Weights(Described, Mixer):
    """The parts of an RWKV-7 mixer (arXiv 2503.14456), None where the configuration leaves one out.

    `layer` is the block's index: block 0 gives the values that later blocks mix in.
    """

    signals = ATTENTION | {HEAD_OUTPUTS, *RECURRENCE}
    sites = ("k", "v")
    shape = RWKV7
    receptance: Projection
    key: Projection
    value: Projection
    output: Projection

    def __init__(self, config: StudentSettings, *, layer: int) -> None:
        super().__init__(config, layer=layer)
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.gate_kind, self.rope_channels = config.gate, config.rope_channels
        self.rope_theta = rotary_base(vars(config), layer)
        self.detach_v_first = config.v_first == "detached"
        # In this order: optimisers, and so checkpoints, know parameters by their number.
        self.make_matrices(config, layer=layer)
        self._make_norms(config)
        self._make_sites(config, layer=layer)
        self._make_adapters(config, layer=layer)
        self._make_vectors(config)

    def _make_norms(self, config: StudentSettings) -> None:
        self.query_norm, self.key_norm = (
            nn.RMSNorm(normed_channels(vars(config)), eps=config.norm_eps)
            if config.qk_norm
            else None
            for _ in range(2)
        )

    def _make_sites(self, config: StudentSettings, *, layer: int) -> None:
        inner = config.mixer_size
        table = PrecisionTable(config.precision)
        self.site_precision = {name: table.of(name, layer=layer, site=True) for name in self.sites}
        self.k_neuron = self.site_precision["k"].spikes(inner)
        self.v_neuron = self.site_precision["v"].spikes(inner)

    def _make_adapters(self, config: StudentSettings, *, layer: int) -> None:
        adapter = partial(LowRank, width=config.hidden_size, out=config.mixer_size)
        self.decay = adapter(rank=config.decay_rank, bias=True, activation=torch.tanh)
        self.rate = adapter(rank=config.rate_rank, bias=True)
        mixes = layer > 0 and config.v_first != "none"  # block 0 has nobody's values to mix in
        self.value_mix = adapter(rank=config.value_rank, bias=True) if mixes else None
        gated = config.gate != "none"
        self.gate = (
            adapter(rank=config.gate_rank, bias=False, activation=torch.sigmoid) if gated else None
        )

    def _make_vectors(self, config: StudentSettings) -> None:
        width, inner = config.hidden_size, config.mixer_size
        consumers = 6 if self.gate is not None else 5
        self.shift = TokenShift(width=width, consumers=consumers) if config.token_shift else None
        self.value_shift = TokenShift(width=inner, consumers=1) if config.value_shift else None

        self.removal = nn.Parameter(torch.ones(inner)) if config.removal_key else None
        self.replacement = nn.Parameter(torch.ones(inner)) if config.key_replacement else None
        self.bonus = nn.Parameter(torch.zeros(self.heads, self.head_size)) if config.bonus else None
        self.norm = (
            # The released code's 64e-5 for heads of 64.
            nn.GroupNorm(self.heads, inner, eps=self.head_size * 1e-5)
            if config.group_norm
            else None
        )

    def balance_places(self, gains: list[Tensor]) -> Iterator[BalancePlace]:
        """The norm before it, and its own group norm where no bonus passes that by."""
        adapters: list[LowRank | FollowingShift] = [
            part for part in self.children() if isinstance(part, LowRank)
        ]
        yield BalancePlace(gains, [self.receptance, self.key, self.value], adapters)
        if self.norm is not None and self.bonus is None:
            yield BalancePlace(list(self.norm.parameters()), [self.output], [])

    def set_sites(self, of: Callable[[str], Precision]) -> None:
        """Give the sites k and v the precision that `of` has for them."""
        for name, old in self.site_precision.items():
            new = of(name)
            if new != old:
                setattr(self, f"{name}_neuron", new.spikes(self.heads * self.head_size))
            self.site_precision[name] = new

    def by_head(self, x_BTC: Tensor) -> Tensor:
        return x_BTC.view(*x_BTC.shape[:-1], self.heads, self.head_size)
