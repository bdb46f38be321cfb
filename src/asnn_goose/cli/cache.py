"""`asnn-goose teacher cache`: let a recipe's teachers read before the run does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.options import Quiet, Settings

EXAMPLES = (
    "asnn-goose teacher cache my.toml",
    "asnn-goose teacher cache recipes/ladder/smollm2-p1s3-long.toml"
    " --set data.windows=fixed --set teacher.0.cache.top=64",
)


class CacheError(ValueError):
    """A recipe of which nothing can be cached."""


def cache(
    recipe: Annotated[Path, typer.Argument(help="A recipe with [teacher.cache].")],
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Fill the caches of a recipe's teachers, with the windows that its stages will read.

    A run does so by itself as it goes; this does it before, or beside it. What is there is not
    read again, by this or any other recipe with the same teacher, so Ctrl-C loses nothing.
    """
    from functools import partial

    from rich.console import Console

    from asnn_goose.cli.progress import drawing, say
    from asnn_goose.recipe import build_run, load_recipe
    from asnn_goose.recipe.run import own_threads
    from asnn_goose.subject.torch_model import hush
    from asnn_goose.train.fill_cache import cached_stages, fill, tokens_of

    hush()
    console = Console()
    tell = partial(say, console)
    with own_threads():
        plan = build_run(load_recipe(recipe, settings or []), tell=tell)
        stages = cached_stages(plan)
        if not stages:
            raise CacheError(
                f"{recipe}: no stage reads a cache; give a teacher a table [teacher.cache], "
                "with features for stages that read more than words"
            )
        for stage in stages:
            with drawing(console, tokens_of(stage), quiet=quiet, doing="reading") as advance:
                found = fill(stage, advance=advance)
            there = found.tokens - found.read
            tell(f"{stage.name}: {found.tokens:,} tokens, of which {there:,} were there before")
