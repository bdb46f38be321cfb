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
    "asnn-goose distill recipes/smollm2-dense.toml recipes/ladder/smollm2-p2s3.toml --resume",
)


class ChainError(ValueError):
    """An option that several recipes cannot share."""


@expected_errors()
def distill(
    recipes: Annotated[list[Path], typer.Argument(help="A recipe (TOML), or several in a row.")],
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
    """Carry out a recipe: train a student. Or several, one after the other.

    Numbers may be written as 200k or 1.5M. Ctrl-C saves and stops; --resume goes on, bit for
    bit. The student ends up in the run folder under model/.

    Of several recipes each has its own folder, runs/ and its name; a later one may start from or
    learn from an earlier one's folder. --resume skips what is finished, continues what has begun
    and starts the rest.
    """
    if len(recipes) > 1:
        check_shared(recipes, out=out, settings=settings)
    from asnn_goose.cli import carrying_out, chaining

    if len(recipes) > 1 and dry_run:
        chaining.dry(recipes)
    elif len(recipes) > 1:
        chaining.carry_out(recipes, resume=resume, quiet=quiet)
    elif dry_run:
        carrying_out.dry(recipes[0], settings or [])
    else:
        carrying_out.carry_out(recipes[0], settings or [], out=out, resume=resume, quiet=quiet)


def check_shared(recipes: list[Path], *, out: Path | None, settings: list[str] | None) -> None:
    """Raise ChainError for an option that is one recipe's."""
    if out is not None:
        raise ChainError(
            f"--out {out}: is the folder of one run, and there are {len(recipes)} recipes; leave it"
            " out, and each goes to runs/ and its name"
        )
    if settings:
        raise ChainError(
            f"--set {settings[0]}: is a setting of one recipe, and there are {len(recipes)}; write"
            " it into the recipe that it is meant for"
        )
