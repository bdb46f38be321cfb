"""MiniLM: relations between the tokens of one late layer, whatever the widths.

Wang et al. 2020, arXiv 2002.10957 (version 1) and 2012.15828 (version 2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from asnn_goose.losses.features import at_positions, choose_layer, documents_of
from asnn_goose.losses.kinds import TraceLoss
from asnn_goose.ops.attention import causal_log_attention
from asnn_goose.trace import Batch, Trace

RELATIONS = {
    1: (("queries", "keys"), ("values", "values")),
    2: (("queries", "queries"), ("keys", "keys"), ("values", "values")),
}
"""Left and right factors of the relations by version."""


class MiniLM(TraceLoss):
    """Sum of KL(teacher || student) of softmax(x y^T / sqrt(N)), mean over heads and tokens.

    Version 1 relates q-k (attention) and v-v, version 2 q-q, k-k and v-v; a recurrent student gives
    r, k and v. All relations are causal. Tokens that do not count are left out, as if the text did
    not hold them.

    version         1 or 2
    student_layer, teacher_layer   blocks, counted from 0, or from the end where negative
    relation_heads  for version 2: heads to cut the joined vectors into; 0 leaves both models' own,
                    which then must be equally many, as they must in version 1
    """

    needs = frozenset({"queries", "keys", "values"})

    def __init__(
        self,
        *,
        version: int = 1,
        student_layer: int = -1,
        teacher_layer: int = -1,
        relation_heads: int = 0,
    ) -> None:
        super().__init__()
        if version not in RELATIONS:
            raise ValueError(f"version = {version}: choose 1 or 2")
        if relation_heads < 0 or (relation_heads and version == 1):
            raise ValueError(f"relation_heads = {relation_heads}: 0, or with version = 2 above 0")
        self.relations, self.relation_heads = RELATIONS[version], relation_heads
        self.student_layer, self.teacher_layer = student_layer, teacher_layer

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32. ValueError where heads or blocks do not fit."""
        found = self._heads(student, self.student_layer, "student_layer")
        wanted = self._heads(teacher, self.teacher_layer, "teacher_layer")
        if found["values"].shape[2] != wanted["values"].shape[2]:
            raise ValueError(
                f"the student has {found['values'].shape[2]} heads, the teacher "
                f"{wanted['values'].shape[2]}: use version = 2 with relation_heads"
            )
        documents_BT = documents_of(student, teacher)
        values = [
            _relation_kl(found[x], found[y], wanted[x], wanted[y], batch.mask_BT, documents_BT)
            for x, y in self.relations
        ]
        return torch.stack(values).sum()

    def _heads(self, trace: Trace, layer: int, setting: str) -> dict[str, Tensor]:
        """q, k and v of a block by name, in fp32 and by relation head."""
        q, k, v = (
            choose_layer(trace.signal(name), layer, setting=setting)
            for name in ("queries", "keys", "values")
        )
        q, k = (at_positions(x, trace.rotation(layer)) for x in (q, k))
        return {"queries": self._cut(q), "keys": self._cut(k), "values": self._cut(v.float())}

    def _cut(self, x_BTHN: Tensor) -> Tensor:
        heads = self.relation_heads
        if not heads:
            return x_BTHN
        joined_BTC = x_BTHN.flatten(-2)
        if joined_BTC.shape[-1] % heads:
            raise ValueError(
                f"relation_heads = {heads}: must divide the {joined_BTC.shape[-1]} channels"
            )
        cut_BTAN: Tensor = joined_BTC.unflatten(-1, (heads, -1))
        return cut_BTAN


def _relation_kl(
    student_x: Tensor,
    student_y: Tensor,
    teacher_x: Tensor,
    teacher_y: Tensor,
    mask_BT: Tensor,
    documents_BT: Tensor | None,
) -> Tensor:
    """KL between the relations of x with y (B,T,H,N), mean over heads and tokens that count."""
    with torch.autocast(student_x.device.type, enabled=False):
        # In fp32: a relation of T tokens is a softmax over T, whose small entries bf16 would round
        # to equals.
        log_q_BHTT = causal_log_attention(student_x, student_y, mask_BT, documents_BT)
        log_p_BHTT = causal_log_attention(teacher_x, teacher_y, mask_BT, documents_BT)
    kl_BT = (log_p_BHTT.exp() * (log_p_BHTT - log_q_BHTT)).sum(-1).mean(1)
    return kl_BT.where(mask_BT, 0.0).sum() / mask_BT.sum().clamp_min(1)
