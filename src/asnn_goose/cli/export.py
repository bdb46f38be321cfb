"""`asnn-goose export`: a student in the form in which the engine runs it."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk
from asnn_goose.cli.options import Student
from asnn_goose.numbers import size
from asnn_goose.places import SubjectError, run_recipe

if TYPE_CHECKING:
    from asnn_goose.export.packed import Packed, PackSettings

EXAMPLES = (
    "asnn-goose export runs/demo --to packed",
    "asnn-goose export runs/demo --to packed --out goose.packed --dense int8",
    "asnn-goose export runs/demo --to packed --head ternary --low-rank f16",
    "asnn-goose export runs/dense --to packed --dense int4 --head int4",
    "asnn-goose export runs/rung --to compact --out students/rung.safetensors",
    "asnn-goose export runs/demo --to hub-folder --out share/goose-demo",
    "asnn-goose export runs/dense --to gguf --dense int8",
    "asnn-goose export runs/lif --to nir",
)


class Target(StrEnum):
    """What a student can be exported to."""

    packed = "packed"
    compact = "compact"
    hub_folder = "hub-folder"
    gguf = "gguf"
    nir = "nir"


class Dense(StrEnum):
    """Number formats of a matrix that is not ternary."""

    f16 = "f16"
    int8 = "int8"
    int4 = "int4"
    f32 = "f32"


class Head(StrEnum):
    """Number formats of embedding and head."""

    int8 = "int8"
    int4 = "int4"
    f16 = "f16"
    ternary = "ternary"


def export(
    student: Student,
    to: Annotated[Target, typer.Option("--to", help="What to make of it.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder or, for compact and gguf, file to write.  [default: packed/, hub/, nir/,"
            " compact.safetensors or student.gguf in the run or student's folder]"
        ),
    ] = None,
    dense: Annotated[
        Dense,
        typer.Option(
            help="Large matrices that the student does not keep ternary; whole numbers are in"
            " groups of 64 columns."
        ),
    ] = Dense.f16,
    low_rank: Annotated[
        Dense, typer.Option(help="The mixers' low-rank factors, which set decays and gates.")
    ] = Dense.int8,
    head: Annotated[
        Head,
        typer.Option(help="Embedding and head; ternary adds a spiking head beside the embedding."),
    ] = Head.int8,
    absorb: Annotated[
        bool,
        typer.Option(
            "--absorb",
            help="Move amplitudes of spikes into the weights' scales, where all tokens share one.",
        ),
    ] = False,
) -> None:
    """Pack a student for the engine, keep it in a small file, or make a folder to share.

    packed: ternary weights as bits, for the engine. Which matrices are ternary, and which inputs
    spike, is the student's own setting (`precision` in its recipe). compact: leaves out what is the
    teacher's own; `asnn-goose restore` makes a student of it that trains on. hub-folder: weights,
    tokenizer, modelling code and a card, for Transformers with trust_remote_code, and the packed
    student in it; `asnn-goose push` uploads it. gguf: for llama.cpp, of students without rotary
    positions and spikes; --dense int8 is its Q8_0, int4 its Q4_1. nir: matrices and LIF neurons for
    simulators and chips, one file each, and a list of what it cannot say (docs/measurement.md).

    A folder appears whole or not at all; an older one of its kind in its place is replaced,
    anything else is left alone.
    """
    from asnn_goose.export.packed import PackSettings

    place = Path(student).expanduser()
    settings = PackSettings(
        dense=dense.value, low_rank=low_rank.value, head=head.value, absorb=absorb
    )
    if to is Target.packed:
        target = out or place / "packed"
        typer.echo(f"{target}\n{pack(student, target, settings)}")
    elif to is Target.compact:
        from asnn_goose.export.compact import is_compact

        target = out or place / "compact.safetensors"
        disk.check_file(target, kind="compact student", is_one=is_compact)
        typer.echo(f"{target}\n  {compact(student, target)}")
    elif to is Target.gguf:
        target = out or place / "student.gguf"
        disk.check_file(target, kind="GGUF file", is_one=disk.GGUF)
        typer.echo(f"{target}\n  {gguf(student, target, form=dense.value)}")
    elif to is Target.nir:
        typer.echo(nir(student, out or place / "nir"))
    else:
        target = out or place / "hub"
        typer.echo(f"{target}\n  {hub_folder(student, target, settings)}")


def pack(student: str, target: Path, settings: PackSettings) -> str:
    """Write the packed student; the bytes of its parts."""
    from asnn_goose.export.packed import export_packed
    from asnn_goose.subject.trained import load_trained, trained_folder

    # What is no student is told before a folder is made for it.
    source = trained_folder(student)
    disk.check_folder(target)
    return table(export_packed(load_trained(student), target, settings=settings, tokenizer=source))


def gguf(student: str, file: Path, *, form: str) -> str:
    """Write the GGUF file; which of llama.cpp's architectures it is, and its size."""
    from asnn_goose.export.gguf.file import write_gguf
    from asnn_goose.subject.trained import load_trained, template_of, trained_folder

    source = trained_folder(student)
    architecture = write_gguf(
        load_trained(student), file, form=form, source=source, template=template_of(source)
    )
    return f"{size(file.stat().st_size)}, llama.cpp's architecture {architecture}"


def hub_folder(student: str, target: Path, settings: PackSettings) -> str:
    """Write the folder to share; what of it is missing, and what to do with it."""
    from asnn_goose.study.share import share

    shared = share(student, target, settings=settings)
    lines = [f"not in it: {reason}" for reason in shared.missing]
    return "\n  ".join([*lines, f"upload it with: asnn-goose push {target} OWNER/NAME"])


def nir(student: str, folder: Path) -> str:
    """Write what NIR can say of a student; what that is, and why not the rest."""
    from asnn_goose.export.nir_graph import write_nir
    from asnn_goose.subject.trained import load_trained

    disk.check_folder(folder)
    found = write_nir(load_trained(student), folder)
    reasons = Counter(found.left_out.values())
    lines = [f"{folder}\n  {len(found.written)} matrices, with what comes before them"]
    lines += [f"  {count} left out: {reason}" for reason, count in reasons.items()]
    return "\n".join([*lines, "  recurrences, gates, norms and activations have no node in NIR"])


def compact(student: str, file: Path) -> str:
    """Write the compact file of a run's student, whose recipe names the teacher; how large it is.

    Raises SubjectError for what is no run folder.
    """
    from asnn_goose.export.compact import write_compact
    from asnn_goose.model import load_teacher
    from asnn_goose.recipe import load_recipe
    from asnn_goose.recipe.teachers import DTYPES
    from asnn_goose.subject.trained import load_trained

    model, recipe = load_trained(student), run_recipe(student)
    if recipe is None:
        raise SubjectError(f"{student}: give a run folder, whose recipe names the teacher")
    teacher = load_recipe(recipe).teacher[0]
    loaded = load_teacher(teacher.model, dtype=DTYPES[teacher.dtype])
    embedding = loaded.embedding_VD
    total = write_compact(model, file, teacher=teacher.model, embedding_VD=embedding)
    return f"{size(total)}, without the embedding of {teacher.model}"


def table(packed: Packed) -> str:
    """One line per part, and the whole beside what it takes as fp32."""
    parts = packed.bytes_by_part.items()
    rows = [f"  {part.replace('-', ' '):<12}{size(count):>8}" for part, count in parts]
    ratio = packed.fp32_bytes / packed.total_bytes
    whole = f"  {'together':<12}{size(packed.total_bytes):>8}"
    rows.append(f"{whole}, 1/{ratio:.1f} of {size(packed.fp32_bytes)} in fp32")
    rows += [f"  not absorbed: {name}: {reason}" for name, reason in packed.kept.items()]
    return "\n".join(rows)
