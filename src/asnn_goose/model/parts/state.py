"""Recurrent state of one block, as plain tensors that are passed in and returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class MixerState(NamedTuple):
    """What a mixer carries to the next token.

    shift_BD   the mixer's last input, for the token shift
    wkv_BHNN   the matrix memory, axes [value, key]
    """

    shift_BD: Tensor
    wkv_BHNN: Tensor


class BlockState(NamedTuple):
    """What a block carries: the mixer's state and, for a channel mix, its last input."""

    mixer: MixerState
    channel_shift_BD: Tensor | None

    def apply(self, function: Callable[[Tensor], Tensor]) -> BlockState:
        """The same state with `function` applied to every tensor."""
        channel = self.channel_shift_BD
        return BlockState(
            mixer=MixerState(*(function(part) for part in self.mixer)),
            channel_shift_BD=None if channel is None else function(channel),
        )
