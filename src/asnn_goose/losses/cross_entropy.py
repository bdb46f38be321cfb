"""Cross-entropy with the text itself."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asnn_goose.losses.kinds import Chunk, VocabLoss
from asnn_goose.trace import IGNORED_LABEL


class CrossEntropy(VocabLoss):
    """-log p_student(label) per token. It looks at no teacher, so say in results when it is on.

    Sequence-level distillation (Kim and Rush 2016, arXiv 1606.07947) is this loss on text that the
    teacher wrote: it is a matter of the data, and has no file of its own.
    """

    uses_teacher = False

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        """(n,) in nats; 0 where there is no label."""
        log_q_nV = chunk.log_probs(z_student_nV)
        # From the chunk's log-probabilities, which a KL beside it has made already.
        return F.nll_loss(log_q_nV, chunk.labels_n, ignore_index=IGNORED_LABEL, reduction="none")
