"""`asnn-goose restore`: a student's folder out of a compact file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asnn_goose import disk
from asnn_goose.places import SubjectError

EXAMPLES = (
    "asnn-goose restore students/smollm2-spiking.safetensors",
    "asnn-goose restore students/smollm2-spiking.safetensors --out runs/spiking",
)


def restore(
    file: Annotated[Path, typer.Argument(help="What `export --to compact` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write.  [default: runs/ and the file's name]")
    ] = None,
) -> None:
    """Make a student of a compact file: its teacher gives embedding and tokenizer.

    The folder serves eval, export, generate and a recipe's student.start.
    """
    from asnn_goose.export.compact import compact_teacher, restored
    from asnn_goose.model import load_teacher
    from asnn_goose.subject.torch_model import hush

    folder = out or Path("runs") / file.stem
    if folder.exists() and any(folder.iterdir()):
        raise SubjectError(f"{folder} is not empty: choose another --out")
    # Before the teacher, which may have to be fetched, is loaded for nothing.
    disk.check_folder(folder)
    hush()
    name, dtype = compact_teacher(file)
    teacher = load_teacher(name, dtype=dtype)
    embedding = teacher.embedding_VD
    student = restored(file, embedding_VD=embedding)
    with disk.new_folder(folder) as fresh:
        student.save_pretrained(fresh)
        if teacher.tokenizer is not None:
            teacher.tokenizer.save_pretrained(fresh)
    typer.echo(f"the student is in {folder}")
