"""What verbs print: tables without lines, words at the left and numbers at the right; asides."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table


aside = partial(typer.echo, err=True)
"""Prints beside the results, on standard error: what a pipe is not to get."""


def shown(value: float, form: str) -> str:
    """A number in a form of `format`; a dash where it is not known."""
    return "-" if math.isnan(value) else format(value, form)


def plain_table(*headings: str, words: int = 1) -> Table:
    """An empty table whose first `words` columns hold words, and the others numbers."""
    # Here, and not above: a help page shows no table, and rich takes a while to import.
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        if number < words:
            made.add_column(heading)
        else:
            # A number that is broken over two lines is read as two.
            made.add_column(heading, justify="right", no_wrap=True)
    return made


def show(*parts: str | Table) -> None:
    """Print tables, and lines between them without colours."""
    from rich.console import Console

    console = Console()
    for part in parts:
        console.print(part, highlight=False)
