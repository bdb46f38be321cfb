"""`asnn-goose distill`: carry out a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples

EXAMPLES = examples(
    "asnn-goose distill recipes/smollm2-demo.toml --dry-run",
    "asnn-goose distill recipes/smollm2-demo.toml --out runs/demo",
    "asnn-goose distill recipes/smollm2-demo.toml --out runs/demo --resume",
    "asnn-goose distill recipes/smollm2-demo.toml --set stage.0.tokens=200k --set seed=1",
)


@expected_errors()
def distill(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder.  [default: runs/ and the recipe's name]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the run folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and stop.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting of the recipe; may be repeated."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Messages only, no progress.")] = False,
) -> None:
    """Carry out a recipe: train a student.

    Numbers may be written as 200k or 1.5M. Ctrl-C saves and stops; --resume goes on, bit for
    bit. The student ends up in the run folder under model/.
    """
    from asnn_goose.cli.carrying_out import carry_out, dry

    if dry_run:
        dry(recipe, settings or [])
    else:
        carry_out(recipe, settings or [], out=out, resume=resume, quiet=quiet)
