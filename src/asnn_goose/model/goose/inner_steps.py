"""Inner steps: every token is run several times on the same input, for neurons that spell a number.

The copies of a sequence lie in neighbouring rows, so that blocks know of them only by
`Window.copies`. What leaves the blocks is the mean over the copies; states keep one axis for the
sequences, and one for the copies behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from asnn_goose.model.goose.block import BlockOutput
from asnn_goose.model.mixers.mixer import MixerOutput
from asnn_goose.model.parts.state import BlockState
from asnn_goose.trace import Window


@dataclass(frozen=True)
class InnerSteps:
    """`count` copies of every sequence; 0 leaves everything as it is."""

    count: int

    def spread(self, x_BTD: Tensor) -> Tensor:
        """(B,T,D) -> (B*S,T,D)."""
        return x_BTD.repeat_interleave(self.count, 0) if self.count else x_BTD

    def window(self, window: Window) -> Window:
        """The window of the copies."""
        if not self.count:
            return window
        parts = {name: getattr(window, name) for name in ("mask_BT", "position_BT", "documents_BT")}
        spread = {name: None if x is None else self.spread(x) for name, x in parts.items()}
        return replace(window, copies=self.count, **spread)

    def mean(self, x_RTD: Tensor) -> Tensor:
        """(B*S,T,D) -> (B,T,D)."""
        return x_RTD.unflatten(0, (-1, self.count)).mean(1) if self.count else x_RTD

    def together(self, state: BlockState) -> BlockState:
        """A state (B,S,...) as blocks take it, (B*S,...)."""
        return state.apply(lambda x: x.flatten(0, 1)) if self.count else state

    def mixed(self, mixed: MixerOutput) -> MixerOutput:
        """What a mixer gave, as means over the copies; its state and carry stay theirs."""
        if not self.count:
            return mixed
        signals = {name: self.mean(x) for name, x in mixed.signals.items()}
        return mixed._replace(out_BTD=self.mean(mixed.out_BTD), signals=signals)

    def block(self, output: BlockOutput) -> BlockOutput:
        """What a block gave, as means over the copies, and its state as (B,S,...)."""
        if not self.count:
            return output
        return BlockOutput(
            self.mean(output.x_BTD),
            self.mean(output.mixer_in_BTD),
            self.mixed(output.mixer),
            self.mean(output.mlp_out_BTD),
            output.state.apply(lambda x: x.unflatten(0, (-1, self.count))),
        )
