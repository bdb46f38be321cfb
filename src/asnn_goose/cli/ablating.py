"""The part of `ablate` that needs torch: carry out a grid, write tables and plots."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console

from asnn_goose.cli.numbers import duration
from asnn_goose.cli.watching import say
from asnn_goose.study.ablation import Advance, Study
from asnn_goose.study.comparison import as_json, comparable, compare, markdown
from asnn_goose.study.grid import Grid, Run
from asnn_goose.study.plot import draw

GOOSE = (sys.executable, "-c", "from asnn_goose.cli import app; app()")
"""This very installation, whatever is first on the PATH."""


def dry(grid: Grid, runs: Sequence[Run]) -> None:
    """Print cells, changes and budgets."""
    for cell in grid.cells:
        changes = "  ".join(cell.changes) or "(control)"
        typer.echo(f"{cell.name}  {cell.tokens:,} tokens  {changes}")
    tokens = {cell.name: cell.tokens for cell in grid.cells}
    total = sum(tokens[run.cell] for run in runs)
    typer.echo(f"{len(runs)} runs, {total:,} training tokens in all")


def carry_out(grid: Grid, runs: Sequence[Run], *, out: Path, workers: int, resume: bool) -> None:
    """Train and score, then compare all that is finished; exits with 1 where a run failed."""
    console, failures = Console(), dict[str, str]()

    def on_run(advance: Advance) -> None:
        if advance.failure:
            failures[advance.run.name] = advance.failure
        say(console, progress_line(advance))

    study = Study(
        grid=grid,
        out=out,
        goose=GOOSE,
        workers=workers,
        tell=lambda text: say(console, text),
        on_run=on_run,
    )
    say(console, f"{len(runs)} runs, {workers} at a time, each on one thread")
    study.carry_out(runs, resume=resume)
    conclude(grid, study, failures)
    say(console, (out / "table.md").read_text(encoding="utf-8"))
    if failures:
        say(console, f"{len(failures)} of {len(runs)} runs failed: try them again with --resume")
        raise typer.Exit(1)


def progress_line(advance: Advance) -> str:
    """How a run ended, and when all will."""
    place = f"[{advance.done}/{advance.total}] {advance.run.cell} seed {advance.run.seed}"
    ended = f"failed: {advance.failure}" if advance.failure else "finished"
    left = f", {duration(advance.eta_s)} left" if advance.done < advance.total else ""
    return f"{place}  {ended}, {duration(advance.seconds)}{left}"


def conclude(grid: Grid, study: Study, failures: Mapping[str, str]) -> None:
    """Write table.md, table.json and, where anything is finished, the plots."""
    finished, unusable = study.results()
    scores, other = comparable(grid, finished)
    rows, missing = compare(grid, scores), {**failures, **unusable, **other}
    (study.out / "table.md").write_text(markdown(grid, rows, missing), encoding="utf-8")
    (study.out / "table.json").write_text(as_json(grid, rows, missing), encoding="utf-8")
    if rows:
        draw(rows, [study.out / "plot.svg", study.out / "plot.png"])
