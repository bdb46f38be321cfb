"""The part of `sensitivity` that needs torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from asnn_goose.cli.scoring import advancing
from asnn_goose.cli.subject import hush, load_tokenizer
from asnn_goose.cli.texts import text_named, windows_of
from asnn_goose.eval.comparison import Protocol
from asnn_goose.model.assistant import load_student
from asnn_goose.model.goose.config import check_words, sites
from asnn_goose.ops.allocator import keep_freed_memory
from asnn_goose.study.heat_map import draw
from asnn_goose.study.sensitivity import Sensitivity, sensitivity


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `sensitivity`."""

    student: str
    entry: Mapping[str, Any]
    names: tuple[str, ...]
    together: int
    on: str
    tokens: int
    window: int
    out: Path | None


def run(request: Request) -> None:
    """Measure, print the table, write the map."""
    if not (request.entry["planes"] or request.entry["steps"]):
        raise ValueError("--planes 0 --steps 0: nothing would change; set one of them")
    check_words(dict.fromkeys(request.names, request.entry))
    keep_freed_memory()
    hush()
    tokenizer = load_tokenizer(request.student)
    protocol = Protocol(window=request.window, limit=request.tokens)
    windows = windows_of(text_named(request.on), tokenizer, protocol=protocol)
    student = load_student(request.student)
    entry = {k: v for k, v in request.entry.items() if k != "rotate" or _turns(request)}
    with advancing(f"lowering {request.student}", 0) as advance:
        found = sensitivity(
            student,
            windows,
            entry=entry,
            names=request.names or None,
            together=request.together,
            progress=lambda done, total: advance(1),
        )
    folder = request.out or Path(request.student).expanduser() / "sensitivity"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"precision": dict(entry), "on": request.on, **found.as_dict()}, indent=1)
    (folder / "map.json").write_text(text + "\n", encoding="utf-8")
    draw(found, [folder / "map.svg", folder / "map.png"])
    Console().print(table(found))
    typer.echo(f"base {found.base:.3f} nats per token over {found.tokens:,} tokens")
    typer.echo(f"map in {folder}")


def _turns(request: Request) -> bool:
    """Signals without a matrix have no basis to turn."""
    return not set(request.names) & sites()


def table(found: Sensitivity) -> Table:
    """Nats per token that every place costs: layers down, matrices across."""
    made = Table(box=None, pad_edge=False)
    made.add_column("layers")
    for name in found.names:
        made.add_column(name, justify="right")
    for (first, last), costs in zip(found.rows, found.cost, strict=True):
        label = str(first) if first == last else f"{first}-{last}"
        made.add_row(label, *(f"{cost:+.3f}" for cost in costs))
    made.add_row("all", *(f"{cost:+.3f}" for cost in found.by_name))
    made.add_row("everything", f"{found.whole:+.3f}")
    return made
