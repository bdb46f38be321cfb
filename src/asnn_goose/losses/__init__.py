"""Distillation objectives, one file per paper. A new one is one file and one row here.

LOSSES compare what two passes left behind: forward(student, teacher, batch) -> scalar.
VOCAB_LOSSES compare logits: forward(z_student, z_teacher, chunk) -> one value per token; the
objective runs all of them on one chunk of tokens at a time, so the head is multiplied once.
"""

from asnn_goose.losses.attention_output import AttentionOutput
from asnn_goose.losses.cross_entropy import CrossEntropy
from asnn_goose.losses.kinds import TraceLoss, VocabLoss
from asnn_goose.losses.kl import KL
from asnn_goose.losses.objective import Objective, Term

LOSSES: dict[str, type[TraceLoss]] = {"attention_output": AttentionOutput}
VOCAB_LOSSES: dict[str, type[VocabLoss]] = {"kl": KL, "ce": CrossEntropy}

__all__ = [
    "KL",
    "LOSSES",
    "VOCAB_LOSSES",
    "AttentionOutput",
    "CrossEntropy",
    "Objective",
    "Term",
    "TraceLoss",
    "VocabLoss",
]
