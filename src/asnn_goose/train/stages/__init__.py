"""Stages of a run. A new kind is one file and one row here."""

from asnn_goose.train.stages.align import Align
from asnn_goose.train.stages.distill import Distill
from asnn_goose.train.stages.stage import Stage

STAGES: dict[str, type[Align] | type[Distill]] = {"align": Align, "distill": Distill}

__all__ = ["STAGES", "Align", "Distill", "Stage"]
