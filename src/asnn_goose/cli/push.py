"""`asnn-goose push`: a shared student onto the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = (
    "asnn-goose push runs/demo/hub me/goose-demo",
    "asnn-goose push share/goose-demo me/goose-demo --private",
)


def push(
    folder: Annotated[Path, typer.Argument(help="What `export --to hub-folder` wrote.")],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Where to; made where there is none.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Let nobody else see a repository made now.")
    ] = False,
) -> None:
    """Upload a student to the Hugging Face Hub, or to where HF_ENDPOINT points, as one commit.

    HF_TOKEN, or a login with `hf auth login`, says who you are.
    """
    from asnn_goose.export.push import push as pushed

    typer.echo(pushed(folder, repository, private=private))
