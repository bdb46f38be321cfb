"""A student whose last stream feeds its first, and which settles before it speaks.

Bal and Sengupta, SpikingBERT (AAAI 2024), arXiv 2308.10873, which has this path and whose release
leaves it out: a_0 = x + W N(a_L) with a_L = blocks(a_0), solved for a_0, and gradients of the
equilibrium, not of the way to it (`ops.implicit`). N divides by the root mean square, so that W
alone says how much comes back; ours. A token feeds itself back and sees no later one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model.goose.block import BlockOutput, GooseBlock
from asnn_goose.model.goose.inner_steps import InnerSteps
from asnn_goose.model.parts.state import BlockState
from asnn_goose.ops.implicit import settled
from asnn_goose.trace import Window

TOLERANCE = 1e-5
"""Of the residual: fp32 gives little less in deep blocks."""


def outputs(
    blocks: Sequence[GooseBlock],
    steps: InnerSteps,
    call: Callable[..., BlockOutput],
    x_BTD: Tensor,
    *,
    states: tuple[BlockState, ...],
    window: Window,
) -> Iterator[BlockOutput]:
    """What blocks give one after the other, the first on x; `call` runs one."""
    carry: Tensor | None = None
    x_BTD, window = steps.spread(x_BTD), steps.window(window)
    for layer, block in enumerate(blocks):
        state = steps.together(states[layer]) if states else None
        output = call(block, x_BTD, carry, state, window)
        x_BTD, carry = output.x_BTD, output.mixer.carry
        yield steps.block(output)


def last(found: Iterator[BlockOutput]) -> Tensor:
    """The residual stream (B,T,D) behind the last of some blocks, and nothing else of them."""
    (output,) = deque(found, maxlen=1)
    return output.x_BTD


class Feedback(nn.Module):
    """W (D,D), which starts at 0: a student that is given it computes what it did."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.matrix = nn.Linear(width, width, bias=False)
        self.start()

    def start(self) -> None:
        """Let nothing come back yet."""
        nn.init.zeros_(self.matrix.weight)

    def forward(self, x_BTD: Tensor, blocks: Callable[[Tensor], Tensor]) -> Tensor:
        """What enters the first block (B,T,D), for words x and blocks from there to a_L.

        Raises NotSettledError where there is no equilibrium to be found, going forward or back.
        """

        def fed(a_BTD: Tensor) -> Tensor:
            last_BTD = blocks(a_BTD)
            back_BTD: Tensor = self.matrix(F.rms_norm(last_BTD, last_BTD.shape[-1:]))
            return x_BTD + back_BTD

        return settled(fed, x_BTD, tolerance=TOLERANCE)
