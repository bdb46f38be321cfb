"""Short runs of stages of each kind: `python -m tests.train.every_stage FOLDER BATCHES KIND ...`.

Started as one of several processes, BATCHES being how many micro-batches all together make a step.
The students are in FOLDER/KIND-PROCESSES/model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from tests.campaign.inputs import BATCH, STEPS, WINDOW, recipe
from transformers.utils import logging

from asnn_goose.recipe import build_run
from asnn_goose.recipe.load import check_recipe
from asnn_goose.study.smoke import STAGES
from asnn_goose.train.loop import run


class Silent:
    """Hears what a run says."""

    def on_step(self, info: object) -> None:
        """Nothing."""

    def on_message(self, text: str) -> None:
        """Nothing."""


def every_stage(folder: Path, batches: int, kinds: Sequence[str]) -> Accelerator:
    """Train a student a kind; gives what held the processes together."""
    logging.set_verbosity_error()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    for kind in kinds:
        tokens = STEPS * WINDOW * BATCH * batches
        stage = {"kind": kind, "accumulate": batches // processes, "tokens": tokens}
        table = recipe(folder, kind, [STAGES[kind] | stage])
        plan = build_run(check_recipe(table, source=kind), tell=lambda text: None)
        out = folder / f"{kind}-{processes}"
        run(plan, out=out, resume=False, progress=Silent())
    return plan.accelerator


if __name__ == "__main__":
    every_stage(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]).end_training()
