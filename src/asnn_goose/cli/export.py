"""`asnn-goose export`: a student in the form in which the engine runs it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asnn_goose.cli.errors import expected_errors
from asnn_goose.cli.examples import examples

EXAMPLES = examples(
    "asnn-goose export runs/demo --to packed",
    "asnn-goose export runs/demo --to packed --out goose.packed --dense int8",
    "asnn-goose export runs/demo --to packed --head ternary --low-rank f16",
    "asnn-goose export runs/rung --to compact --out students/rung.safetensors",
)


class Target(StrEnum):
    """What a student can be exported to."""

    packed = "packed"
    compact = "compact"


class Dense(StrEnum):
    """Number formats of a matrix that is not ternary."""

    f16 = "f16"
    int8 = "int8"
    f32 = "f32"


class Head(StrEnum):
    """Number formats of embedding and head."""

    int8 = "int8"
    f16 = "f16"
    ternary = "ternary"


@expected_errors()
def export(
    student: Annotated[str, typer.Argument(help="A run folder, or a student's folder.")],
    to: Annotated[Target, typer.Option("--to", help="What to make of it.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder or, for compact, file to write.  [default: packed/ or"
            " compact.safetensors in the run or student's folder]"
        ),
    ] = None,
    dense: Annotated[
        Dense, typer.Option(help="Large matrices that the student does not keep ternary.")
    ] = Dense.f16,
    low_rank: Annotated[
        Dense, typer.Option(help="The mixers' low-rank factors, which set decays and gates.")
    ] = Dense.int8,
    head: Annotated[
        Head,
        typer.Option(help="Embedding and head; ternary adds a spiking head beside the embedding."),
    ] = Head.int8,
) -> None:
    """Pack a student for the engine, ternary weights as bits, or keep it in a small file.

    Which matrices are ternary, and which inputs spike, is the student's own setting (`precision`
    in its recipe). The folder appears whole or not at all; an older packed model in its place
    is replaced, anything else is left alone. A compact file leaves out what is the teacher's own;
    `asnn-goose restore` makes a student of it that trains on.
    """
    from asnn_goose.cli.packing import compact_student, pack_student

    if to is Target.compact:
        compact_student(student, out=out)
        return
    pack_student(student, out=out, dense=dense.value, low_rank=low_rank.value, head=head.value)
