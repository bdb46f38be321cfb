"""`asnn-goose report`: a run on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.examples import examples
from asnn_goose.cli.expected_errors import expected_errors

EXAMPLES = examples("asnn-goose report runs/demo")


@expected_errors()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder; the run may still be going on.")],
) -> None:
    """Write report.html into a run folder: curves, stages, scores, recipe.

    Scores are those of eval.json in the run folder, where there is one.
    """
    from asnn_goose.report import write_report

    typer.echo(f"wrote {write_report(run)}")
