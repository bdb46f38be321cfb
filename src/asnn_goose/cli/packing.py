"""The part of `export` that needs torch."""

from __future__ import annotations

from pathlib import Path

import typer

from asnn_goose.cli.numbers import size
from asnn_goose.cli.subject import SubjectError, hush, run_recipe, student_folder
from asnn_goose.export.compact import compact_teacher, restored, write_compact
from asnn_goose.export.packed import Packed, PackSettings, export_packed
from asnn_goose.format.packed import WEIGHTS
from asnn_goose.model import GooseForCausalLM, load_teacher
from asnn_goose.recipe import load_recipe
from asnn_goose.recipe.teachers import DTYPES


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


def compact_student(student: str, *, out: Path | None) -> None:
    """Write the compact file of a run's student, whose recipe names the teacher."""
    source, recipe = find(student), run_recipe(student)
    if recipe is None:
        raise SubjectError(f"{student}: give a run folder, whose recipe names the teacher")
    table = load_recipe(recipe).teacher[0]
    hush()
    file = out or Path(student).expanduser() / "compact.safetensors"
    teacher = load_teacher(table.model, dtype=DTYPES[table.dtype])
    embedding = teacher.model.get_input_embeddings().weight
    model: GooseForCausalLM = GooseForCausalLM.from_pretrained(source)
    total = write_compact(model, file, teacher=table.model, embedding_VD=embedding)
    typer.echo(f"{file}\n  {size(total)}, without the embedding of {table.model}")


def restore_student(file: Path, *, out: Path) -> None:
    """Make a student's folder of a compact file."""
    if out.exists() and any(out.iterdir()):
        raise SubjectError(f"{out} is not empty: choose another --out")
    hush()
    name, dtype = compact_teacher(file)
    teacher = load_teacher(name, dtype=dtype)
    embedding = teacher.model.get_input_embeddings().weight
    restored(file, embedding_VD=embedding).save_pretrained(out)
    if teacher.tokenizer is not None:
        teacher.tokenizer.save_pretrained(out)
    typer.echo(f"the student is in {out}")


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
