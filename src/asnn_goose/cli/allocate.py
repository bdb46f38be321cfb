"""`asnn-goose allocate`: planes and steps for every matrix, under a budget."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asnn_goose import disk
from asnn_goose.cli.options import Student, Text, count_of
from asnn_goose.cli.tables import plain_table, show

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.study.allocation import Allocation

EXAMPLES = (
    "asnn-goose allocate runs/smollm2-dense --budget 2.8",
    "asnn-goose allocate runs/smollm2-dense --rung 1x1 --rung 1x3 --rung 2x3 --unit ms --budget 5",
    "asnn-goose allocate runs/smollm2-dense --rung 1x3 --rung 2x3@3.5 --together 3 --budget 3",
)

THRESHOLDS = {1: 0.9, 3: 4.0}
"""What the ladder of docs/ladder.md found best for so many steps."""


def allocate(
    student: Student,
    budget: Annotated[float, typer.Option(help="The most that the whole may cost.")],
    unit: Annotated[
        str, typer.Option(help="bits of a weight, or ms of a token on this machine's engine.")
    ] = "bits",
    rung: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PxS",
            help="Planes and steps that a matrix may have, from cheap to dear, with @THRESHOLD "
            "behind where S is not 1 or 3; repeat it.  [default: 1x3, 2x3]",
        ),
    ] = None,
    rotate: Annotated[bool, typer.Option(help="Rotate inputs in blocks of 64.")] = True,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Only this matrix; may be repeated.  [default: all matrices]"),
    ] = None,
    together: Annotated[int, typer.Option(min=1, help="Neighbouring layers that are alike.")] = 3,
    patience: Annotated[
        int, typer.Option(min=0, help="Places raised before a gain is measured anew; 0: always.")
    ] = 4,
    on: Text = "validation",
    tokens: Annotated[int, count_of("Tokens scored.")] = 1024,
    window: Annotated[int, count_of("Their context.")] = 256,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for allocation.json, precision.toml.  [default: in the student]"),
    ] = None,
) -> None:
    """Spend planes and steps where they are needed: a greedy search without training.

    Every matrix starts at the first rung; what gains most for what it costs is raised until the
    budget is spent. The table that comes out is a stage's `precision`, which training then heals.
    """
    from asnn_goose.cli.progress import advancing
    from asnn_goose.study.allocation import allocate_on

    folder = out or Path(student).expanduser() / "allocation"
    disk.check_folder(folder)
    rungs = [entry(text, rotate=rotate) for text in rung or ("1x3", "2x3")]
    with advancing(f"measuring {student}", 0) as advance:
        found = allocate_on(
            student,
            rungs=rungs,
            unit=unit,
            budget=budget,
            names=tuple(name or ()),
            together=together,
            patience=patience,
            text=on,
            tokens=tokens,
            window=window,
            progress=lambda spent, loss: advance(1),
        )
    show(table(found))
    (spent, before), (_, after) = found.way[0], found.way[-1]
    typer.echo(
        f"{before:.3f} nats per token at {spent:.3g} {found.unit}, "
        f"{after:.3f} at {found.spent:.3g} of {budget:g}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"on": on, **found.as_dict()}, indent=1)
    disk.write_text(folder / "allocation.json", text + "\n")
    disk.write_text(folder / "precision.toml", toml(found))
    typer.echo(f"table for a stage in {folder / 'precision.toml'}")


def entry(text: str, *, rotate: bool) -> dict[str, Any]:
    """Settings of a precision from PxS or PxS@threshold. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d)x(\d)(?:@(\d+(?:\.\d+)?))?", text)
    if not found:
        raise ValueError(f"--rung {text}: write planes and steps as 1x3, or 1x2@2.5")
    planes, steps = int(found[1]), int(found[2])
    made: dict[str, Any] = {"planes": planes, "steps": steps, "rotate": rotate}
    if steps:
        if not found[3] and steps not in THRESHOLDS:
            raise ValueError(f"--rung {text}: {steps} steps need a threshold, as {text}@2.5")
        made["threshold"] = float(found[3] or THRESHOLDS[steps])
    return made


def table(found: Allocation) -> Table:
    """Planes and steps by place: layers down, matrices across."""
    names = list(dict.fromkeys(name for _, _, name in found.chosen))
    made = plain_table("layers", *names)
    rows = dict.fromkeys((first, last) for first, last, _ in found.chosen)
    for first, last in rows:
        rungs = [found.rungs[found.chosen[first, last, name]] for name in names]
        label = str(first) if first == last else f"{first}-{last}"
        made.add_row(label, *(f"{rung['planes']}x{rung['steps']}" for rung in rungs))
    return made


def toml(found: Allocation) -> str:
    """The table as a recipe has it under its [[stage]]."""
    lines = []
    for place, settings in found.precision().items():
        lines.append(f'[stage.precision."{place}"]')
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines.append("")
    return "\n".join(lines)
