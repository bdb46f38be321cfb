"""What `asnn-goose eval --stream` does and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asnn_goose.cli.tables import aside, plain_table, show, shown

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.study.request import Request
    from asnn_goose.study.streams import Streams


def read_streams(request: Request, engine: str | None, *, json: Path | None) -> None:
    """Read, print, and write where that is wanted."""
    from asnn_goose.cli.progress import advancing
    from asnn_goose.study.streams import stream_models

    found = stream_models(request, engine=engine, watch=advancing, tell=aside)
    through = f"segments of {found.segment:,} tokens" if found.segment else "the whole text"
    typer.echo(f"the state is carried through {through}; a transformer begins anew when it is full")
    show(stream_table(found), "", place_table(found))
    for (text, role), of in found.differences().items():
        first = next(iter(found.models))
        typer.echo(f"{text}: {role} {of.mean:+.4f} nats ± {of.error:.4f} against {first}")
    if json:
        found.write(json)


def stream_table(found: Streams) -> Table:
    """One row per text and model."""
    numbers = ("tokens", "perplexity", "±", "a word", "bits/byte", "reach", "tokens/s")
    made = plain_table("text", "model", *numbers, words=2)
    for (text, role), row in sorted(found.found.items(), key=lambda item: item[0][0]):
        score = row.score
        made.add_row(
            *(text, role, f"{score.tokens:,}", f"{score.perplexity:,.2f}"),
            f"{score.perplexity * row.error:,.2f}",
            shown(score.word_perplexity, ",.1f"),
            shown(score.bits_per_byte, ".3f"),
            "-" if row.reach is None else f"{row.reach:,}",
            f"{score.tokens / row.seconds:,.0f}",
        )
    return made


def place_table(found: Streams) -> Table:
    """Nats per token by its place: does more context help, and does nothing break far out?"""
    places = dict.fromkeys(name for row in found.found.values() for name in row.by_place)
    made = plain_table("nats at place", "model", *places, words=2)
    for (text, role), row in sorted(found.found.items(), key=lambda item: item[0][0]):
        means = [row.by_place[name].mean if name in row.by_place else None for name in places]
        made.add_row(text, role, *("-" if mean is None else f"{mean:.3f}" for mean in means))
    return made
