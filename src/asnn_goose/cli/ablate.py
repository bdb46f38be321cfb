"""`asnn-goose ablate`: carry out a grid of recipe changes, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples

EXAMPLES = examples(
    "asnn-goose ablate recipes/ablations/dense.toml --dry-run",
    "asnn-goose ablate recipes/ablations/dense.toml --out runs/ablations/dense --seed 0",
    "asnn-goose ablate recipes/ablations/dense.toml --out runs/ablations/dense --resume"
    " --cell no-gate",
)


@expected_errors()
def ablate(
    grid: Annotated[Path, typer.Argument(help="A grid (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study.  [default: runs/ and the grid's name]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time, each on one thread.")] = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and stop.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep finished runs, continue or retry the others."),
    ] = False,
    cell: Annotated[
        list[str] | None,
        typer.Option(help="Only this cell, and the control; may be repeated."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Only this seed of the grid; may be repeated.")
    ] = None,
) -> None:
    """Train every cell of a grid with every seed, score all on the same windows, compare.

    A cell is a recipe with changes; all train on as many tokens. The folder gets table.md,
    table.json, plot.svg and plot.png, over whatever is finished. Ctrl-C saves and stops.
    """
    from asnn_goose.cli.ablating import carry_out, dry
    from asnn_goose.study.grid import load_grid

    wanted = load_grid(grid)
    runs = list(wanted.runs(cells=cell or (), seeds=seed or ()))
    if dry_run:
        dry(wanted, runs)
    else:
        folder = out or Path("runs") / wanted.name
        carry_out(wanted, runs, out=folder, workers=workers, resume=resume)
