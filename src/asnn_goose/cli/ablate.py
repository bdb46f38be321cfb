"""`asnn-goose ablate`: carry out a grid of recipe changes, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk
from asnn_goose.cli.options import DryRun
from asnn_goose.numbers import duration

if TYPE_CHECKING:
    from asnn_goose.study.ablation import Advance
    from asnn_goose.study.grid import Grid, Run

EXAMPLES = (
    "asnn-goose ablate recipes/ablations/dense.toml --dry-run",
    "asnn-goose ablate recipes/ablations/dense.toml --out runs/ablations/dense --seed 0",
    "asnn-goose ablate recipes/ablations/dense.toml --out runs/ablations/dense --resume"
    " --cell no-gate",
)


def ablate(
    grid: Annotated[Path, typer.Argument(help="A grid (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study.  [default: runs/ and the grid's name]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time, each on one thread.")] = 2,
    dry_run: DryRun = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished runs, continue or retry the others.")
    ] = False,
    cell: Annotated[
        list[str] | None, typer.Option(help="Only this cell, and the control; may be repeated.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Only this seed of the grid; may be repeated.")
    ] = None,
) -> None:
    """Train every cell of a grid with every seed, score all on the same windows, compare.

    A cell is a recipe with changes; all train on as many tokens. The folder gets table.md,
    table.json, plot.svg and plot.png, over whatever is finished. Ctrl-C saves and stops.
    """
    from asnn_goose.study.grid import load_grid

    wanted = load_grid(grid)
    runs = list(wanted.runs(cells=cell or (), seeds=seed or ()))
    if dry_run:
        dry(wanted, runs)
    else:
        folder = out or Path("runs") / wanted.name
        disk.check_folder(folder)
        carry_out(wanted, runs, out=folder, workers=workers, resume=resume)


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
    from rich.console import Console

    from asnn_goose.cli.progress import say
    from asnn_goose.study.ablation import Study

    tell = partial(say, Console())
    study = Study(
        grid=grid,
        out=out,
        workers=workers,
        tell=tell,
        on_run=lambda advance: tell(progress_line(advance)),
    )
    tell(f"{len(runs)} runs, {workers} at a time, each on one thread")
    study.carry_out(runs, resume=resume)
    tell(study.conclude())
    if study.failures:
        tell(f"{len(study.failures)} of {len(runs)} runs failed: try them again with --resume")
        raise typer.Exit(1)


def progress_line(advance: Advance) -> str:
    """How a run ended, and when all will."""
    place = f"[{advance.done}/{advance.total}] {advance.run.cell} seed {advance.run.seed}"
    ended = f"failed: {advance.failure}" if advance.failure else "finished"
    left = f", {duration(advance.eta_s)} left" if advance.done < advance.total else ""
    return f"{place}  {ended}, {duration(advance.seconds)}{left}"
