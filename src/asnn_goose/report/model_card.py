"""A student's card: README.md of the folder in which it is shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from asnn_goose.report.jinja_template import template


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedText:
    """A text that the student was trained on; share in percent, None where lengths decide."""

    name: str
    licence: str
    source: str
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What is told of a student that is shared.

    base         id of the teacher on the Hub, where it is known to be there
    licence      of the teacher, by its SPDX name in small letters; "" where it is not known
    precision    (what the matrices are, how many of them) in words
    state_bytes  what a sequence carries, as fp32
    trained      tokens and seconds of training; None where no metrics were kept
    scores       what `eval --json` wrote; empty where nothing was scored
    bench        what `bench --json` wrote, likewise
    unpacked     why no packed file travels with it; "" where one does
    recipe       the resolved recipe, "" where there is none
    """

    name: str
    version: str
    teacher: str
    base: str
    licence: str
    settings: Mapping[str, Any]
    parameters: int
    precision: Sequence[tuple[str, int]]
    state_bytes: int
    chat: bool
    texts: Sequence[SharedText] = ()
    trained: tuple[int, float] | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    bench: Mapping[str, Any] = field(default_factory=dict)
    unpacked: str = ""
    recipe: str = ""


def render_card(card: ModelCard) -> str:
    """The card as Markdown, with the front matter that the Hub reads."""
    # Markdown, and every word in it is the maker's own: nothing is escaped.
    return template(
        "model_card.md",
        escaped=False,
        cell=_cell,
        quoted=_quoted,
        picojoules=lambda work: sum(part["picojoules"] for part in work),
    ).render(asdict(card))


def _cell(text: object) -> str:
    """Text that cannot end a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _quoted(text: str) -> str:
    """A string of YAML, whatever a user called a run."""
    return "'" + " ".join(text.split()).replace("'", "''") + "'"
