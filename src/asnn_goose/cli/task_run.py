"""What `asnn-goose eval --tasks` does and prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asnn_goose.cli.tables import aside, plain_table, show
from asnn_goose.numbers import ALL

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.study.tasks import TaskEvaluation


def ask_tasks(
    model: str,
    tasks: Sequence[str],
    folder: Path | None,
    limit: int | None,
    teacher: str | None,
    engine: str | None,
    *,
    on: tuple[str, ...],
    json: Path | None,
) -> None:
    """Ask, print, and write where that is wanted."""
    from asnn_goose.cli.progress import advancing
    from asnn_goose.study.tasks import LIMIT, TaskRequest, ask_models

    request = TaskRequest(
        model=model,
        tasks=tuple(name for words in tasks for name in words.split(",")),
        folder=folder.expanduser() if folder else None,
        # Not given is our default; "all" is no limit, which the library calls None.
        limit=LIMIT if limit is None else None if limit == ALL else limit,
        teacher=teacher,
        engine=engine,
        on=on,
    )
    found = ask_models(request, watch=advancing, tell=aside)
    if any(found.scores.values()):
        show(task_table(found))
    for line in (*generation_lines(found), *instruction_lines(found)):
        typer.echo(line)
    if json:
        found.write(json)


def task_table(found: TaskEvaluation) -> Table:
    """One row per task: chance, every model with its standard error, and the relative score."""
    relatives = found.relatives()
    extra = ("relative", "same") if relatives else ()
    made = plain_table("task", "metric", "items", "chance", *found.scores, *extra, words=2)
    first = next(iter(found.scores.values()))
    for place, score in enumerate(first):
        cells = [
            with_error(scores[place].value, scores[place].error) for scores in found.scores.values()
        ]
        kept = relatives.get(score.task)
        if relatives:
            cells += (
                [with_error(kept.value, kept.error), f"{kept.same:.1%}"] if kept else ["-", "-"]
            )
        made.add_row(
            score.task, score.metric, f"{len(score.items):,}", f"{score.chance:.3f}", *cells
        )
    return made


def with_error(value: float, error: float) -> str:
    """A number and its standard error, if that is known."""
    return f"{value:.3f}" if math.isnan(error) else f"{value:.3f}±{error:.3f}"


def generation_lines(found: TaskEvaluation) -> list[str]:
    """What models wrote, a line for each, and how far the student goes with its teacher."""
    lines = [
        f"{role} writes {of.length:.0f} tokens; repeated 4-grams {of.repeated[4]:.1%}, distinct"
        f" 1-, 2- and 4-grams {of.distinct[1]:.1%}, {of.distinct[2]:.1%}, {of.distinct[4]:.1%}"
        for role, of in found.varieties().items()
    ]
    if alike := found.agreement():
        lines.append(
            f"student and teacher write alike for {alike.length:.1f} ± {alike.error:.1f} tokens;"
            f" {alike.whole:.0%} of the continuations to the end"
        )
    return lines


def instruction_lines(found: TaskEvaluation) -> list[str]:
    """How well instructions were followed, a line for each model."""
    return [
        f"{role} follows {with_error(of.followed, of.error)} of the instructions ("
        + ", ".join(f"{kind} {share:.2f}" for kind, share in of.by_kind.items())
        + f"); stops by itself {of.stopped:.0%}, {of.length:.0f} tokens"
        for role, of in found.instructions.items()
    ]
