"""The student's word vectors follow the teacher's (SpikeBERT, arXiv 2308.15122, second stage)."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.losses.features import Bridged
from asnn_goose.trace import Batch, Trace


class EmbeddingTable(Bridged):
    """Mean squared error between both embedding tables, over the words of the batch.

    The released code compares whole tables; words that a batch does not hold would cost a pass
    over the vocabulary each step and pull alike at any time, so here they wait for their batch.
    Where the student's words become spikes, it is the vectors behind them that are compared.
    """

    needs = frozenset({"embedding"})

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Scalar, in fp32. ValueError where a Trace has no table."""
        if student.embedding_VD is None or teacher.embedding_VD is None:
            raise ValueError("a Trace has no embedding table: capture 'embedding'")
        words_W = batch.tokens_BT[batch.mask_BT].unique()
        ours_WD, theirs_WD = student.embedding_VD[words_W], teacher.embedding_VD[words_W].float()
        found_WD: Tensor = self.projection(ours_WD.float(), theirs_WD)
        return (found_WD - theirs_WD).square().mean()
