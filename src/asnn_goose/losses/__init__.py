"""Distillation objectives, one file per paper. A new one is one file and one row here.

LOSSES compare what two passes left behind: forward(student, teacher, batch) -> scalar.
VOCAB_LOSSES compare logits: forward(z_student, z_teacher, chunk) -> one value per token; the
objective runs all of them on one chunk of tokens at a time, so the head is multiplied once.
PAIR_LOSSES compare two answers to a prompt: forward(lead) -> one value per pair.
"""

from asnn_goose.losses.adakd import AdaKD
from asnn_goose.losses.cka import CKA
from asnn_goose.losses.cross_entropy import CrossEntropy
from asnn_goose.losses.ctkd import CTKD
from asnn_goose.losses.dpo import DPO
from asnn_goose.losses.dual_head import DualHead
from asnn_goose.losses.embedding_table import EmbeddingTable
from asnn_goose.losses.fdd import FDD
from asnn_goose.losses.feature_dynamics import FeatureDynamics
from asnn_goose.losses.head_output import HeadOutput
from asnn_goose.losses.hidden import Hidden
from asnn_goose.losses.ipo import IPO
from asnn_goose.losses.jsd import JSD
from asnn_goose.losses.kinds import PairLoss, TraceLoss, VocabLoss
from asnn_goose.losses.kl import KL
from asnn_goose.losses.l2_wrap import L2Wrap
from asnn_goose.losses.matrix_orientation import MatrixOrientation
from asnn_goose.losses.minilm import MiniLM
from asnn_goose.losses.multi_teacher import MultiTeacher
from asnn_goose.losses.objective import Objective, Term
from asnn_goose.losses.outputs import AttentionOutput, BlockOutput, MlpOutput
from asnn_goose.losses.pkd import PKD
from asnn_goose.losses.reverse_kl import ReverseKL
from asnn_goose.losses.skew_kl import SkewKL, SkewReverseKL
from asnn_goose.losses.span_likelihood import SpanLikelihood
from asnn_goose.losses.tinybert import TinyBERT, TinyBERTAttention
from asnn_goose.losses.total_variation import TotalVariation
from asnn_goose.losses.uld import ULD

LOSSES: dict[str, type[TraceLoss]] = {
    "attention_output": AttentionOutput,
    "head_output": HeadOutput,
    "mlp_output": MlpOutput,
    "block_output": BlockOutput,
    "hidden": Hidden,
    "pkd": PKD,
    "tinybert": TinyBERT,
    "tinybert_attention": TinyBERTAttention,
    "minilm": MiniLM,
    "fdd": FDD,
    "feature_dynamics": FeatureDynamics,
    "cka": CKA,
    "embedding_table": EmbeddingTable,
    "matrix_orientation": MatrixOrientation,
    "span_likelihood": SpanLikelihood,
}
VOCAB_LOSSES: dict[str, type[VocabLoss]] = {
    "kl": KL,
    "ce": CrossEntropy,
    "l2_wrap": L2Wrap,
    "reverse_kl": ReverseKL,
    "jsd": JSD,
    "skew_kl": SkewKL,
    "skew_reverse_kl": SkewReverseKL,
    "total_variation": TotalVariation,
    "ctkd": CTKD,
    "adakd": AdaKD,
    "dual_head": DualHead,
    "multi_teacher": MultiTeacher,
    "uld": ULD,
}
PAIR_LOSSES: dict[str, type[PairLoss]] = {"dpo": DPO, "ipo": IPO}

__all__ = [
    "KL",
    "LOSSES",
    "PAIR_LOSSES",
    "VOCAB_LOSSES",
    "AttentionOutput",
    "CrossEntropy",
    "Objective",
    "PairLoss",
    "Term",
    "TraceLoss",
    "VocabLoss",
]
