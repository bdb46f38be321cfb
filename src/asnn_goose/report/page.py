"""A run on one page: metrics.jsonl, and eval.json where there is one, to report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from asnn_goose import disk

Step = Mapping[str, Any]
"""One line of metrics.jsonl."""

STEP = {
    *("stage", "stage_index", "step", "terms", "lr", "grad_norm", "tokens_seen", "tokens_total"),
    *("seconds", "memory_bytes", "tokens_per_s"),
}
"""What a step must hold to be drawn."""


class ReportError(ValueError):
    """There is nothing to report on; the message says what was looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    """One stage: steps, its own tokens and seconds, and where its numbers ended."""

    name: str
    steps: int
    tokens: int
    seconds: float
    last: Step


def write_report(run: Path) -> Path:
    """Write `run`/report.html and return its path.

    Raises ReportError where the folder has no metrics.jsonl with a line in it, or a line that is
    not JSON before the last.
    """
    steps = read_steps(run / "metrics.jsonl")
    scores = _read_json(run / "eval.json")
    recipe = run / "recipe.toml"
    page = render(
        title=run.resolve().name,
        steps=steps,
        scores=scores,
        recipe=_text(recipe) if recipe.is_file() else "",
    )
    target = run / "report.html"
    disk.write_text(target, page)
    return target


def read_steps(metrics: Path) -> list[Step]:
    """The logged steps. A last line that a crash cut short is left out."""
    lines = _text(metrics).splitlines() if metrics.is_file() else []
    steps: list[Step] = []
    for number, line in enumerate(lines, start=1):
        try:
            step = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise ReportError(f"{metrics} line {number} is not JSON: {error}") from error
            break
        if not isinstance(step, dict) or not step.keys() >= STEP:
            raise ReportError(f"{metrics} line {number} is no step of a run")
        steps.append(step)
    if not steps:
        raise ReportError(f"{metrics} holds no step: a report needs a run that has begun")
    return steps


def _read_json(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(_text(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReportError(f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("measurements"), list):
        raise ReportError(f"{file} holds no scores: write it with asnn-goose eval --json")
    return found


def _text(file: Path) -> str:
    try:
        return disk.read_text(file)
    except disk.NotTextError as error:
        raise ReportError(str(error)) from error


def summaries(steps: Sequence[Step]) -> list[StageSummary]:
    """What each stage took and gave, in order."""
    found, tokens, seconds = [], 0, 0.0
    for _, group in groupby(steps, key=lambda step: step["stage_index"]):
        last = list(group)[-1]
        found.append(
            StageSummary(
                name=last["stage"],
                steps=last["step"],
                tokens=last["tokens_seen"] - tokens,
                seconds=last["seconds"] - seconds,
                last=last,
            )
        )
        tokens, seconds = last["tokens_seen"], last["seconds"]
    return found


def render(*, title: str, steps: Sequence[Step], scores: Mapping[str, Any], recipe: str) -> str:
    """The page as HTML."""
    from asnn_goose.report.curves import curves

    return _template().render(
        title=title,
        last=steps[-1],
        peak_bytes=max(step["memory_bytes"] for step in steps),
        stages=summaries(steps),
        scores=scores,
        curves=curves(steps),
        recipe=recipe,
    )


@cache
def _template() -> Template:
    # Names of runs, texts and terms are a user's own: everything is escaped but our curves.
    environment = Environment(
        loader=PackageLoader("asnn_goose.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    return environment.get_template("report.html")


def _number(value: float | None, form: str) -> str:
    """A number in a form of `format`; nothing where there is none."""
    return "" if value is None else format(value, form)
