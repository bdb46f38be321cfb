"""Stages of a run: what a batch is put through, up to named loss terms.

In comes a batch, out go terms that still hold their gradients. No optimiser is known here, and no
step taken. A new kind is one file and one row.
"""

from asnn_goose.train.stages.align import Align
from asnn_goose.train.stages.align_blocks import AlignBlocks
from asnn_goose.train.stages.calibrate_blocks import CalibrateBlocks
from asnn_goose.train.stages.distill import Distill
from asnn_goose.train.stages.dpo import Dpo
from asnn_goose.train.stages.equilibrium import Equilibrium
from asnn_goose.train.stages.gkd import Gkd
from asnn_goose.train.stages.pretrain import Pretrain
from asnn_goose.train.stages.replace import Replace
from asnn_goose.train.stages.sft import Sft
from asnn_goose.train.stages.slide import Slide
from asnn_goose.train.stages.stage import Stage

STAGES: dict[str, type[Stage]] = {
    "align": Align,
    "align_blocks": AlignBlocks,
    "replace": Replace,
    "distill": Distill,
    "pretrain": Pretrain,
    "sft": Sft,
    "dpo": Dpo,
    "gkd": Gkd,
    "equilibrium": Equilibrium,
    "slide": Slide,
    "calibrate_blocks": CalibrateBlocks,
}

__all__ = [
    "STAGES",
    "Align",
    "AlignBlocks",
    "CalibrateBlocks",
    "Distill",
    "Dpo",
    "Equilibrium",
    "Gkd",
    "Pretrain",
    "Replace",
    "Sft",
    "Slide",
    "Stage",
]
