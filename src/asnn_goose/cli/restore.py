"""`asnn-goose restore`: a student's folder out of a compact file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples

EXAMPLES = examples(
    "asnn-goose restore students/smollm2-spiking.safetensors",
    "asnn-goose restore students/smollm2-spiking.safetensors --out runs/spiking",
)


@expected_errors()
def restore(
    file: Annotated[Path, typer.Argument(help="What `export --to compact` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write.  [default: runs/ and the file's name]")
    ] = None,
) -> None:
    """Make a student of a compact file: its teacher gives embedding and tokenizer.

    The folder serves eval, export, generate and a recipe's student.start.
    """
    from asnn_goose.cli.packing import restore_student

    restore_student(file, out=out or Path("runs") / file.stem)
