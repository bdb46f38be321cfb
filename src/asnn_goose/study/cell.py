"""One run of a grid in a process of its own: trained, scored, and why if it was not.

    python -m asnn_goose.study.cell '{"recipe": ..., "folder": ..., "outcome": ..., "scoring": ...}'

A process each, because that alone keeps a run's threads, memory and random numbers to itself, and
lets it be asked to save and end while the others go on.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from pathlib import Path
from threading import Thread

from pydantic import BaseModel, ConfigDict

from asnn_goose import disk, mkl
from asnn_goose.study.grid import ScoringTable

FAILED = 2
"""Exit code of a cell that did not come to its scores, unless its error has one of its own."""


class Task(BaseModel):
    """What a cell is to do; it comes as JSON.

    recipe   file of its recipe
    folder   its run folder; a run that has begun there is continued
    scores   file for what it is scored
    outcome  file for how it ended
    """

    model_config = ConfigDict(frozen=True)

    recipe: Path
    folder: Path
    scores: Path
    outcome: Path
    scoring: ScoringTable


def write_outcome(file: Path, failure: str | None) -> None:
    """Note how a cell ended: why it has no scores, None with them."""
    disk.write_text(file, json.dumps({"failure": failure}))


def failure_of(file: Path) -> str | None:
    """What `write_outcome` noted; a process that was killed wrote nothing."""
    if not file.is_file():
        return "it was ended from outside"
    failure: str | None = json.loads(file.read_text(encoding="utf-8"))["failure"]
    return failure


class Printed:
    """What a run has to say, line by line; its steps are in metrics.jsonl."""

    def on_step(self, info: object) -> None:
        """Nothing."""

    def on_message(self, text: str) -> None:
        """One line."""
        print(text, flush=True)


def carry_out(task: Task) -> None:
    """Train what is not trained yet, then score it. Raises what either of them raises."""
    from asnn_goose.recipe import load_recipe
    from asnn_goose.recipe.run import is_complete, train_recipe
    from asnn_goose.report import write_report
    from asnn_goose.study.evaluate import evaluate
    from asnn_goose.study.request import Request
    from asnn_goose.subject.torch_model import hush

    hush()
    recipe, scoring = load_recipe(task.recipe), task.scoring
    begun = (task.folder / "recipe.toml").exists()
    if not (begun and is_complete(task.folder, recipe)):
        train_recipe(recipe, task.folder, resume=begun, progress=Printed())
    write_report(task.folder)  # of one that was ended between the two as well
    gc.collect()  # models hold cycles: without this the trained one stays beside the loaded ones
    wanted = {"on": scoring.on, "window": scoring.window, "tokens": scoring.tokens}
    evaluate(Request(model=str(task.folder), **wanted)).write(task.scores)  # type: ignore[arg-type]


def follow(descriptor: int) -> None:
    """End this process once an input does: whoever started it was killed, and may begin again.

    At once and without a checkpoint, so that the run folder is free by then.
    """

    def wait() -> None:
        # Not through a file: the interpreter could not take its lock when it ends.
        while os.read(descriptor, 1):
            pass
        os._exit(FAILED)

    Thread(target=wait, daemon=True).start()


def main(text: str) -> int:
    """Carry a task out, note how it ended, give the exit code."""
    task = Task.model_validate_json(text)
    mkl.use_fast_kernels()  # no torch yet; how threads wait came with the environment
    try:
        carry_out(task)
    except Exception as error:
        # Whatever it was, it must cost this cell alone; the log keeps where it came from.
        traceback.print_exc()
        # To a file: what is printed belongs to whoever reads the log, and nobody takes it apart.
        write_outcome(task.outcome, _words(error))
        # An interrupted run says so by its code, and is no failure of the recipe.
        return int(getattr(error, "exit_code", FAILED))
    write_outcome(task.outcome, None)
    return 0


def _words(error: Exception) -> str:
    ours = isinstance(error, ValueError | RuntimeError | OSError)
    return f"error: {error}" if ours else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    follow(sys.stdin.fileno())
    sys.exit(main(sys.argv[1]))
