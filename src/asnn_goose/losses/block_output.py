"""The residual stream behind the last block that ran, against the teacher's at the same place."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.attention_output import layer_distance
from asnn_goose.losses.distances import check_distance
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.trace import Batch, Trace


class BlockOutput(TraceLoss):
    """A distance between the last hidden states of student and teacher, as `slide` gives them.

    distance  as in AttentionOutput
    """

    needs = frozenset({"hidden"})

    def __init__(self, *, distance: str = "huber") -> None:
        super().__init__()
        self.distance = check_distance(distance)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32."""
        return layer_distance(
            student.hidden[-1:], teacher.hidden[-1:], batch.mask_BT, distance=self.distance
        )
