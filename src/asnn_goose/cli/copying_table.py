"""The second table of `eval`: how much of what stood in its window a model makes use of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from asnn_goose.cli.tables import plain_table
from asnn_goose.eval.comparison import Measurement
from asnn_goose.eval.copy_probe import DISTANCES, KINDS, Losses, Probes


def copying_table(found: Sequence[Measurement]) -> Table:
    """Nats a token by text and model; the share of the tokens stands in the model's first row."""
    made = plain_table("nats", "model", *KINDS, *DISTANCES, words=2)
    for text in dict.fromkeys(row.text for row in found):
        rows = [row for row in found if row.text == text]
        shares = (part.tokens / rows[0].score.tokens for part in _parts(rows[0]))
        made.add_row(text, "share", *(f"{share:.0%}" for share in shares))
        for row in rows:
            made.add_row("", row.model, *(_nats(part) for part in _parts(row)))
    return made


def probe_lines(probes: Mapping[str, Probes]) -> list[str]:
    """One line for each model."""
    return [
        f"{model}: random words that come twice {row.repeated_loss:.2f} nats, words copied from "
        f"far {row.copied_share:.0%}"
        for model, row in probes.items()
    ]


def _parts(row: Measurement) -> list[Losses]:
    return [*row.copying.by_kind.values(), *row.copying.by_distance.values()]


def _nats(part: Losses) -> str:
    return "-" if part.mean is None else f"{part.mean:.2f}"
