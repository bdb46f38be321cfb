"""What keeps RWKV's largest logits small (L2Wrap of its released code)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.kinds import Chunk, VocabLoss


class L2Wrap(VocabLoss):
    """(max_v z_v)^2 / 2 per token: of the logits only the largest one has a gradient, its value.

    The released code adds a gradient of 1e-4 times the largest logit over the number of tokens:
    `weight = 1e-4` beside `ce`.
    """

    uses_teacher = False

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        # Not amax, which would share the gradient out among equal logits.
        return 0.5 * z_student_nV.max(dim=-1).values.square()
