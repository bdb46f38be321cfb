"""`asnn-goose recall`: what a model still knows after how many tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk
from asnn_goose.cli.options import count_of, json_file, seed_of
from asnn_goose.cli.tables import aside, plain_table, show

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.study.recall import RecallStudy

EXAMPLES = (
    "asnn-goose recall runs/demo",
    "asnn-goose recall runs/demo --to 16k --beside runs/control --json runs/demo/recall.json",
)


def recall(
    model: Annotated[str, typer.Argument(help="A run, a student's folder, or a teacher's name.")],
    to: Annotated[int, count_of("Farthest distance, in tokens.")] = 2048,
    teacher: Annotated[
        str | None, typer.Option(help="Ask this model too.  [default: the run's teacher]")
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="Ask this model too; may be repeated.")
    ] = None,
    seed: Annotated[int, seed_of("Of the words that are drawn.")] = 0,
    engine: Annotated[
        str | None, typer.Option(help="What runs a student: native or torch.  [default: native]")
    ] = None,
    json: Annotated[
        Path | None, json_file("Write everything there; report shows RUN/recall.json.")
    ] = None,
) -> None:
    """Copy, induction, association and passkey over 64 tokens and more, student beside teacher.

    A transformer is asked as far as it reaches. docs/measurement.md says what the tasks are.
    """
    from asnn_goose.cli.progress import advancing
    from asnn_goose.eval.recall import DISTANCES
    from asnn_goose.study.recall import study_recall
    from asnn_goose.study.request import Request

    distances = tuple(distance for distance in DISTANCES if distance <= to)
    if not distances:
        raise ValueError(f"--to {to}: must be at least {DISTANCES[0]}")
    if json:
        disk.check_file(json, kind="JSON", is_one=disk.JSON)
    found = study_recall(
        Request(model=model, teacher=teacher, beside=tuple(beside or ())),
        distances=distances,
        seed=seed,
        engine=engine,
        watch=advancing,
        tell=aside,
    )
    show(table(found, distances))
    if json:
        found.write(json)


def table(found: RecallStudy, distances: tuple[int, ...]) -> Table:
    """Shares of what was recalled: tasks and models down, distances across."""
    from asnn_goose.eval.recall import by_task

    made = plain_table("recalled", "model", *(f"{distance:,}" for distance in distances), words=2)
    curves = {role: by_task(rows) for role, rows in found.found.items()}
    for task in dict.fromkeys(task for tasks in curves.values() for task in tasks):
        for role, tasks in curves.items():
            at = {row.distance: row for row in tasks.get(task, ())}
            cells = [f"{at[d].right:.0%}" if d in at else "-" for d in distances]
            made.add_row(task, role, *cells)
    return made
