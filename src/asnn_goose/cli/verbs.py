"""How a function becomes a verb: examples below its help, expected errors as one message."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from asnn_goose.cli.expected_errors import expected_errors


def add(group: typer.Typer, name: str, run: Callable[..., None], examples: Sequence[str]) -> None:
    """Put a verb into a group of them."""
    # Wrapped here and not where it is written, so that no verb can be added without it.
    group.command(name, epilog=epilog(examples))(expected_errors()(run))


def epilog(examples: Sequence[str]) -> str:
    r"""One command a line; `\b` keeps the help formatter from joining them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)
