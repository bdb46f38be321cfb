"""Thousands of tiny steps of a run, with checkpoints, in one process.

    python -m tests.campaign.soak_training [--steps 20000]

Prints how far it is, and what the process holds: its memory may grow by 2 MB an hour, and its
descriptors must stay as many.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.campaign.inputs import BATCH, SPIKING, WINDOW, paragraphs, recipe, write_teacher
from tests.campaign.slope import Watch

from asnn_goose.numbers import count
from asnn_goose.recipe.load import check_recipe
from asnn_goose.recipe.run import train_recipe
from asnn_goose.train.progress import StepInfo

READINGS = 200
CHECKPOINT_MINUTES = 0.2


class Watcher:
    """Takes a reading now and then. every: steps between two."""

    def __init__(self, *, every: int, tell: bool) -> None:
        self.watch, self._every, self._tell = Watch(), every, tell

    def on_step(self, info: StepInfo) -> None:
        if info.run_step % self._every == 0:
            self.watch.look()
            if self._tell and len(self.watch.seconds) % 20 == 0:
                print(f"{info.run_step:,} steps: {self.watch.megabytes[-1]:.1f} MB", flush=True)

    def on_message(self, text: str) -> None:
        """Nothing: only steps are looked at."""


def soak(folder: Path, *, steps: int, readings: int = READINGS, tell: bool = False) -> Watch:
    """Train so many steps in a folder; `tell` prints on the way."""
    os.environ["ASNN_GOOSE_CACHE"] = str(folder / "cache")
    (folder / "text.txt").write_text("\n\n".join(paragraphs(500)), "utf-8")
    write_teacher(folder / "teacher")
    table = recipe(folder, "spiking", [SPIKING])
    table["train"]["checkpoint_minutes"] = CHECKPOINT_MINUTES
    table["stage"][0]["tokens"] = steps * WINDOW * BATCH
    watcher = Watcher(every=max(1, steps // readings), tell=tell)
    train_recipe(check_recipe(table, source="soak"), folder / "run", resume=False, progress=watcher)
    return watcher.watch


def main() -> int:
    """Exit code 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=count, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        watch = soak(Path(own), steps=options.steps, tell=True)
    print(f"{options.steps:,} steps in {watch.line()}")
    return bool(watch.wrong())


if __name__ == "__main__":
    sys.exit(main())
