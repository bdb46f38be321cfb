"""Recurrent state of one block: plain tensors by name, passed in and returned.

Who carries a state names its tensors and alone knows what they mean; block and cache only hand
them on, select sequences of them and copy them. The first axis of each is that of the sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

State = dict[str, Tensor]


class BlockState(NamedTuple):
    """What a block carries to the next token.

    mixer, mlp  their own states, empty for one that carries nothing
    neurons     state of every neuron that has one, by its place (parts.membranes)
    """

    mixer: State
    mlp: State
    neurons: State

    def apply(self, function: Callable[[Tensor], Tensor]) -> BlockState:
        """The same state with `function` applied to every tensor."""
        return BlockState(*(applied(part, function) for part in self))

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of it."""
        for part in self:
            yield from part.values()


def applied(state: State, function: Callable[[Tensor], Tensor]) -> State:
    """A state with `function` applied to every tensor."""
    return {name: function(tensor) for name, tensor in state.items()}
