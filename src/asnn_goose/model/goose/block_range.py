"""A few blocks of a student in the middle of it, on what its own blocks before them give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asnn_goose.model.goose.block import BlockOutput
from asnn_goose.model.goose.causal_lm import GooseForCausalLM
from asnn_goose.model.parts.window import placed
from asnn_goose.trace import Window


def run_range(
    student: GooseForCausalLM,
    tokens_BT: Tensor,
    *,
    first: int,
    last: int,
    window: Window,
    blocks: Sequence[Callable[..., BlockOutput]] | None = None,
) -> Tensor:
    """Residual stream (B,T,D) behind block `last` - 1, with a gradient for blocks `first` and up.

    What stands before them runs without one, and so does what mixers carry from there. `blocks`
    run in the place of the student's own. Raises ValueError for a student with feedback.
    """
    if student.feedback is not None:
        raise ValueError(
            "feedback = true: blocks that run up to the middle have no last stream to feed back; "
            "use distill or equilibrium"
        )
    blocks = student.blocks if blocks is None else blocks
    with torch.no_grad():
        x_BTD: Tensor = student.embedding(tokens_BT)
        window = placed(window, x_BTD)
        x_BTD = student._embed(x_BTD, window.position_BT)
        carry: Tensor | None = None
        for block in blocks[:first]:
            output = block(x_BTD, carry, None, window)
            x_BTD, carry = output.x_BTD, output.mixer.carry
    for block in blocks[first:last]:
        output = student._call(block, x_BTD, carry, None, window)
        x_BTD, carry = output.x_BTD, output.mixer.carry
    return x_BTD
