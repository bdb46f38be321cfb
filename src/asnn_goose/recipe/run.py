"""A recipe carried out in a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from asnn_goose.recipe.build import build_run
from asnn_goose.recipe.schema import Recipe
from asnn_goose.train.loop import run
from asnn_goose.train.progress import Progress


def train_recipe(recipe: Recipe, folder: Path, *, resume: bool, progress: Progress) -> bool:
    """Train as the recipe says; True in the one process that reports.

    Raises RecipeError, TrainError, or what data, model and sources raise.
    """
    with own_threads():
        plan = build_run(recipe, tell=progress.on_message)
        run(plan, out=folder, resume=resume, progress=progress)
    return bool(plan.accelerator.is_main_process)


def is_complete(folder: Path, recipe: Recipe) -> bool:
    """True where this very recipe has already been carried out in the folder."""
    done = folder / "recipe.toml"
    return (
        (folder / "model" / "config.json").is_file()
        and done.is_file()
        and done.read_bytes() == recipe.to_toml().encode()
    )


@contextmanager
def own_threads() -> Iterator[None]:
    """Give torch its threads back: a recipe that sets none must not get those of the one before."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
