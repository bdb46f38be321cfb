"""`asnn-goose report`: runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.options import json_file

EXAMPLES = (
    "asnn-goose report runs/demo",
    "asnn-goose report runs/dense runs/spiking ablations/neurons --out ladder.html",
)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders, or those of ablations; may still be going on."
        ),
    ],
    out: Annotated[
        Path | None, json_file("The page.  [default: report.html in the first run]")
    ] = None,
) -> None:
    """Write one HTML page that needs nothing else: curves, scores, tasks, spikes, energy, recipe.

    Of a run it shows what other verbs wrote there with --json: eval.json, stream.json, tasks.json,
    recall.json, spikes.json and bench.json, and the map of sensitivity.
    """
    from asnn_goose.report import write_report

    typer.echo(f"wrote {write_report(*runs, out=out)}")
