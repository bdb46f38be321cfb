"""`asnn-goose sensitivity`: what lowering each matrix alone costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asnn_goose import disk
from asnn_goose.cli.options import Student, Text, count_of
from asnn_goose.cli.tables import plain_table, show

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.study.sensitivity import Sensitivity

EXAMPLES = (
    "asnn-goose sensitivity runs/smollm2-dense --planes 1",
    "asnn-goose sensitivity runs/smollm2-dense --steps 1 --threshold 1.0 --together 3",
    "asnn-goose sensitivity runs/smollm2-dense --name k --name v --steps 1 --no-rotate",
)


def sensitivity(
    student: Student,
    planes: Annotated[int, typer.Option(help="Ternary planes; 0 leaves weights alone.")] = 0,
    group: Annotated[int, typer.Option(help="Columns that share a scale; 0 is a row.")] = 0,
    steps: Annotated[int, typer.Option(help="Spike steps; 0 leaves inputs analogue.")] = 0,
    code: Annotated[str, typer.Option(help="rate, radix2 or radix3.")] = "radix3",
    threshold: Annotated[
        float, typer.Option(help="In multiples of a token's mean magnitude.")
    ] = 4.0,
    rotate: Annotated[bool, typer.Option(help="Rotate inputs in blocks of 64.")] = True,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Only this matrix or site; may be repeated.  [default: all matrices]"),
    ] = None,
    together: Annotated[int, typer.Option(help="Neighbouring layers lowered at once.")] = 1,
    on: Text = "validation",
    tokens: Annotated[int, count_of("Tokens scored.")] = 1024,
    window: Annotated[int, count_of("Their context.")] = 256,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for map.json, map.svg, map.png.  [default: sensitivity/ in it]"),
    ] = None,
) -> None:
    """Lower one matrix at a time, without training, and measure the loss: a map of what hurts.

    All else keeps the precision that the student has. A plain student's map of weights alone:
    --planes 1; of inputs alone: --steps 3.
    """
    from asnn_goose.cli.progress import advancing
    from asnn_goose.study.heat_map import write_map
    from asnn_goose.study.sensitivity import sensitivity_on

    if not (planes or steps):
        raise ValueError("--planes 0 --steps 0: nothing would change; set one of them")
    entry: dict[str, Any] = {
        "planes": planes,
        "group": group,
        "steps": steps,
        "code": code,
        "threshold": threshold,
        "rotate": rotate,
    }
    folder = out or Path(student).expanduser() / "sensitivity"
    disk.check_folder(folder)
    with advancing(f"lowering {student}", 0) as advance:
        found = sensitivity_on(
            student,
            entry=entry,
            names=tuple(name or ()),
            together=together,
            text=on,
            tokens=tokens,
            window=window,
            progress=lambda done, total: advance(1),
        )
    show(table(found))
    typer.echo(f"base {found.base:.3f} nats per token over {found.tokens:,} tokens")
    write_map(found, folder, on=on)
    typer.echo(f"map in {folder}")


def table(found: Sensitivity) -> Table:
    """Nats per token that every place costs: layers down, matrices across."""
    made = plain_table("layers", *found.names)
    for (first, last), costs in zip(found.rows, found.cost, strict=True):
        label = str(first) if first == last else f"{first}-{last}"
        made.add_row(label, *(f"{cost:+.3f}" for cost in costs))
    made.add_row("all", *(f"{cost:+.3f}" for cost in found.by_name))
    made.add_row("everything", f"{found.whole:+.3f}")
    return made
