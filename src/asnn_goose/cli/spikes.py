"""`asnn-goose spikes`: how a student's neurons fire, and what their spikes tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose import disk
from asnn_goose.cli.options import Student, Text, count_of, json_file
from asnn_goose.cli.tables import plain_table, show

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.study.spikes import SpikeStudy

EXAMPLES = (
    "asnn-goose spikes runs/smollm2-spiking",
    "asnn-goose spikes students/goose --on my.txt --no-teacher --json spikes.json",
)


def spikes(
    student: Student,
    on: Text = "validation",
    tokens: Annotated[int, count_of("Tokens read.")] = 2048,
    window: Annotated[int, count_of("Their context.")] = 256,
    teacher: Annotated[
        str | None, typer.Option(help="Whose features to compare with.  [default: the run's]")
    ] = None,
    no_teacher: Annotated[
        bool, typer.Option("--no-teacher", help="The student alone: rates and entropies.")
    ] = False,
    json: Annotated[
        Path | None, json_file("Write everything there; report shows RUN/spikes.json.")
    ] = None,
) -> None:
    """Firing rates, dead and saturated channels, entropy, information about the teacher; gates.

    docs/measurement.md says how each is computed.
    """
    from asnn_goose.cli.progress import advancing
    from asnn_goose.study.request import Request
    from asnn_goose.study.spikes import study_spikes

    if json:
        disk.check_file(json, kind="JSON", is_one=disk.JSON)
    request = Request(model=student, on=(on,), tokens=tokens, window=window, teacher=teacher)
    found = study_spikes(request, with_teacher=not no_teacher, watch=advancing)
    typer.echo(f"{found.tokens:,} tokens of {found.text}")
    show(place_table(found), "")
    typer.echo(work_line(found))
    if found.cka:
        alike = ", ".join(f"{value:.2f}" for value in found.cka.values())
        typer.echo(f"CKA with the teacher by layer: {alike}")
    for gate in found.gates():
        said = "pass" if gate.passed else "FAIL"
        typer.echo(f"{said}  {gate.name}: {gate.found:.3f}, wanted {gate.wanted}")
    if json:
        found.write(json)


def work_line(found: SpikeStudy) -> str:
    """Synaptic operations of a token, all matrices together."""
    if found.no_work:
        return f"no synaptic operations of the packed form: {found.no_work}"
    fields = ("accumulates", "multiply_accumulates", "dense", "bytes")
    sums = [sum(getattr(place, field) for place in found.work) / 1e6 for field in fields]
    return (
        "a token: {:,.2f} M accumulates, {:,.2f} M multiply-accumulates of {:,.2f} M dense, "
        "{:,.1f} MB of weights read"
    ).format(*sums)


def place_table(found: SpikeStudy) -> Table:
    """Means over layers, a row per kind of place."""
    heads = ("rate", "dead", "saturated", "bits", "bits/spike", "along tokens", "told", "shuffled")
    made = plain_table("place", *heads)
    for site in dict.fromkeys(place.site for place in found.places):
        rows = [place for place in found.places if place.site == site]
        fields = ("rate", "dead", "saturated", "entropy", "per_spike", "correlation")
        cells = [f"{sum(getattr(row, field) for row in rows) / len(rows):.3f}" for field in fields]
        told = [row.information for row in rows if row.information]
        for field in ("bits", "shuffled"):
            mean = sum(getattr(one, field) for one in told) / len(told) if told else None
            cells.append("-" if mean is None else f"{mean:.3f}")
        made.add_row(site, *cells)
    return made
