"""The part of `distill` that needs torch: estimate a run, or carry it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from asnn_goose.cli.numbers import duration, size
from asnn_goose.cli.scoring import training_line
from asnn_goose.cli.subject import hush
from asnn_goose.cli.watching import say, watcher
from asnn_goose.recipe import Estimate, Recipe, build_run, estimate, load_recipe
from asnn_goose.recipe.chain import run_folder
from asnn_goose.report import write_report
from asnn_goose.train.loop import run


def dry(file: Path, settings: Sequence[str]) -> None:
    """Print the resolved recipe, parameter counts, and estimates of memory and time."""
    hush()
    recipe = load_recipe(file, settings)
    typer.echo(recipe.to_toml())
    echo_estimate(recipe)


def echo_estimate(recipe: Recipe) -> None:
    """Print what a run will cost."""
    for line in estimate_lines(estimate(recipe)):
        typer.echo(line)


def estimate_lines(found: Estimate) -> list[str]:
    """An estimate in words, as TOML comments, so that a dry run's output is a recipe."""
    stages = [
        f"# {stage.name}: {stage.steps:,} steps, {stage.tokens:,} tokens,"
        f" {stage.trained:,} parameters train, about {duration(stage.seconds)},"
        f" {size(stage.memory_bytes)}"
        for stage in found.stages
    ]
    return [
        f"# parameters: teacher {found.teacher:,}, student {found.student:,}",
        *stages,
        f"# in all: {found.tokens:,} tokens, about {duration(found.seconds)} on this machine"
        f" ({found.matrix_flops / 1e9:,.0f} Gflop/s), peak memory about {size(found.memory_bytes)},"
        f" disk about {size(found.disk_bytes)}",
    ]


def carry_out(
    file: Path, settings: Sequence[str], *, out: Path | None, resume: bool, quiet: bool
) -> None:
    """Train as the recipe says; with `resume`, a run that is complete is left as it is."""
    hush()
    recipe = load_recipe(file, settings)
    train(recipe, out or run_folder(recipe), resume=resume, quiet=quiet)


def train(recipe: Recipe, folder: Path, *, resume: bool, quiet: bool) -> None:
    """Carry out a recipe that is already checked, in `folder`."""
    console = Console()
    if resume and is_complete(folder, recipe):
        say(console, f"{folder} is complete: {folder / 'model'} holds its student")
        return
    with watcher(console, quiet=quiet) as view:
        plan = build_run(recipe, tell=view.on_message)
        run(plan, out=folder, resume=resume, progress=view)
    if plan.accelerator.is_main_process:
        say(console, training_line(folder / "metrics.jsonl") or "")
        say(console, f"wrote {write_report(folder)}")
        say(console, f"next: asnn-goose eval {folder}")


def is_complete(folder: Path, recipe: Recipe) -> bool:
    """True where this very recipe has already been carried out in the folder."""
    done = folder / "recipe.toml"
    return (
        (folder / "model" / "config.json").is_file()
        and done.is_file()
        and done.read_text(encoding="utf-8") == recipe.to_toml()
    )
