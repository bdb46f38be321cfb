"""Every MLP matches the teacher's: the other half of a block, once its precision is lowered."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.attention_output import layer_distance
from asnn_goose.losses.distances import check_distance
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.trace import Batch, Trace


class MlpOutput(TraceLoss):
    """Mean over layers of a distance between mlp_out of student and teacher.

    distance  as in AttentionOutput; a dense student's MLPs are the teacher's own, so this is for
              ternary weights and spikes
    """

    needs = frozenset({"mlp_out"})

    def __init__(self, *, distance: str = "relative") -> None:
        super().__init__()
        self.distance = check_distance(distance)

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32."""
        return layer_distance(
            student.mlp_out, teacher.mlp_out, batch.mask_BT, distance=self.distance
        )
