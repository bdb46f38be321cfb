"""What `bench` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from asnn_goose.cli.numbers import size

if TYPE_CHECKING:
    from asnn_goose.cli.benching import Result


def show(result: Result) -> None:
    """All tables on standard output."""
    console, start = Console(), result.start
    console.print(f"{result.name}, {result.backend} ({result.isa})", highlight=False)
    console.print(speeds(result))
    console.print(
        f"first token {start.first_token:.2f} s after the process began, loaded after"
        f" {start.loaded:.2f} s; peak memory {size(start.peak_bytes)}",
        highlight=False,
    )
    if result.sites:
        console.print(f"\nspike density {result.density:.3f}", highlight=False)
        console.print(densities(result.sites))
    console.print("\none token, energy of the arithmetic in 45 nm silicon", highlight=False)
    console.print(operations(result))


def speeds(result: Result) -> Table:
    """One row per number of threads and sequences."""
    made = plain("threads", "sequences", "decode tok/s", "prefill tok/s")
    for rate in result.rates:
        made.add_row(
            str(rate.threads), str(rate.concurrent), f"{rate.decode:,.1f}", f"{rate.prefill:,.1f}"
        )
    return made


def densities(sites: Mapping[str, Mapping[int, float]]) -> Table:
    """Layers down, matrices across; the head on a line of its own."""
    made = plain("layer", *(short(name, sites) for name in sites))
    for layer in sorted({layer for by_layer in sites.values() for layer in by_layer}):
        cells = [by_layer.get(layer) for by_layer in sites.values()]
        shown = ("" if cell is None else f"{cell:.3f}" for cell in cells)
        made.add_row("head" if layer < 0 else str(layer), *shown)
    return made


def short(name: str, among: Iterable[str]) -> str:
    """A matrix without its half of the block, where no other one is called the same.

    >>> short("mixer.key", ["mixer.key", "mixer.value", "mlp.value"])
    'key'
    """
    last = name.rpartition(".")[2]
    alone = sum(other.rpartition(".")[2] == last for other in among) == 1
    return last if alone else name


def operations(result: Result) -> Table:
    """Additions, multiplications and energy by part, and dense matrices beside them."""
    made = plain("part", "M additions", "M multiplications", "µJ", "dense / ours")
    rows = [(w.part, w.additions, w.multiplications, w.picojoules) for w in result.work]
    whole = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    for name, *values in rows:
        made.add_row(name, *millions(values))
    made.add_row("together", *millions(whole))
    for form, picojoules in result.dense.items():
        made.add_row(
            f"dense {form}", "", "", *millions([picojoules]), f"{picojoules / whole[-1]:.1f}"
        )
    return made


def millions(values: Iterable[float]) -> list[str]:
    """Counts in millions, which makes picojoules microjoules."""
    return [f"{value / 1e6:,.3f}" for value in values]


def plain(*headings: str) -> Table:
    """A table without lines, numbers at the right."""
    made = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    return made
