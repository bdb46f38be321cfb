"""States of a block's neurons on their way through one call.

A neuron sits deep inside a mixer or an MLP, its state belongs to the sequence: this carries the one
to the other, so that no module remembers anything between two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from asnn_goose.model.neurons import Neuron
from asnn_goose.model.parts.state import State
from asnn_goose.trace import Window

Made = TypeVar("Made")


class Membranes:
    """Made anew for every call, even one that is only recomputed for its gradient.

    before  states by place after the tokens before; empty at a start
    after   states by place after the tokens of this call, there once every neuron has run
    window  how the tokens lie: padding charges no membrane, documents begin with one at rest

    It also keeps what has been made of an input in this call, for the other matrices that read it.
    `asks_all`: neurons without state are asked one by one too, since spikes mean something else.
    """

    asks_all: ClassVar[bool] = False

    def __init__(self, window: Window, before: State | None = None) -> None:
        self.window = window
        self.before = before or {}
        self.after: State = {}
        self._made: dict[Hashable, tuple[Tensor, Any]] = {}

    def once(self, x_BTK: Tensor, how: Hashable, make: Callable[[Tensor], Made]) -> Made:
        """What `make` gives for x, made once for all that ask for the same thing of the same x."""
        key = (id(x_BTK), how)
        if key not in self._made:
            # The input is kept beside, so that no other tensor can take over its id.
            self._made[key] = (x_BTK, make(x_BTK))
        found: Made = self._made[key][1]
        return found

    def spikes(self, place: str, neuron: Neuron | None, h_BTK: Tensor) -> Tensor:
        """What the neuron at `place` makes of h (B,T,K); h itself where there is none."""
        if neuron is None:
            return h_BTK
        if not neuron.stateful:
            out_BTK: Tensor = neuron(h_BTK)
            return out_BTK
        before_BK = self.before.get(place)
        # `after` is a new entry, `before` stays: a forward that gradient checkpointing runs twice
        # must find the same states the second time.
        out_BTK, self.after[place] = neuron.forward_with_state(h_BTK, before_BK, self.window)
        return out_BTK
