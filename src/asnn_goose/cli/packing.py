"""The part of `export` that needs torch."""

from __future__ import annotations

from pathlib import Path

import typer

from asnn_goose.cli.numbers import size
from asnn_goose.cli.subject import SubjectError, hush, student_folder
from asnn_goose.export.packed import Packed, PackSettings, export_packed
from asnn_goose.format.packed import WEIGHTS
from asnn_goose.model import GooseForCausalLM


def pack_student(student: str, *, out: Path | None, dense: str, low_rank: str, head: str) -> None:
    """Pack a run's student or a student's folder, and print what became how large.

    Raises SubjectError where there is no student with a tokenizer, and what `export_packed`
    raises.
    """
    settings = PackSettings(dense=dense, low_rank=low_rank, head=head)
    source, target = find(student), out or Path(student).expanduser() / "packed"
    hush()
    model: GooseForCausalLM = GooseForCausalLM.from_pretrained(source)
    packed = export_packed(model, target, settings=settings, tokenizer=source)
    typer.echo(f"{target}\n{table(packed)}")


def find(student: str) -> Path:
    """Folder of a trained student with its tokenizer.json; raises SubjectError."""
    source = student_folder(student)
    if source is None:
        raise SubjectError(
            f"{student!r} is no student: give a run folder, or a folder that a run left in model/"
        )
    if (source / WEIGHTS).is_file():
        raise SubjectError(f"{student} is packed already: give the student that it was made from")
    if not (source / "tokenizer.json").is_file():
        raise SubjectError(f"{source} has no tokenizer.json: save the student's tokenizer there")
    return source


def table(packed: Packed) -> str:
    """One line per part, and the whole beside what it takes as fp32."""
    rows = [f"  {part:<12}{size(count):>8}" for part, count in packed.bytes_by_part.items()]
    ratio = packed.fp32_bytes / packed.total_bytes
    whole = f"  {'together':<12}{size(packed.total_bytes):>8}"
    return "\n".join([*rows, f"{whole}, 1/{ratio:.1f} of {size(packed.fp32_bytes)} in fp32"])
