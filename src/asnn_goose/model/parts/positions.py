"""Learned positions, which students of GPT-2 keep."""

from __future__ import annotations

from torch import Tensor, nn

from asnn_goose.model.parts.config import StudentSettings


class LearnedPositions(nn.Embedding):
    """A vector per position, weight (n_positions, D), that is added to the token's embedding."""

    def forward(self, position_BT: Tensor) -> Tensor:
        """(B,T) -> (B,T,D). Raises ValueError for a position past the last one."""
        # An index past the table is a crash on a GPU and an IndexError without a name on a CPU.
        length = int(position_BT.max()) + 1
        if length > self.num_embeddings:
            raise ValueError(
                f"a context of {length} tokens: this student has learned positions for "
                f"n_positions = {self.num_embeddings}, and can read no more than that at once"
            )
        return super().forward(position_BT)


def learned_positions(config: StudentSettings) -> LearnedPositions | None:
    """The positions that a configuration asks for; None where it has none."""
    if not config.n_positions:
        return None
    return LearnedPositions(config.n_positions, config.hidden_size)
