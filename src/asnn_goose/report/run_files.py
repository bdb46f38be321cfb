"""What a run folder holds, read as it is: each part may be missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from asnn_goose import disk

Step = Mapping[str, Any]
"""One line of metrics.jsonl."""

Found = Mapping[str, Any]
"""What a verb wrote with --json; empty where it did not."""

PARTS = ("eval", "stream", "tasks", "recall", "spikes", "bench", "table")
"""Files PART.json that the verbs write, and an ablation's table."""

HOLDS = {
    "eval": "measurements",
    "stream": "streams",
    "tasks": "tasks",
    "recall": "recall",
    "spikes": "places",
    "bench": "work",
    "table": "rows",
    "map": "cost",
}
"""What a file of each name holds at least."""

STEP = {
    *("stage", "stage_index", "step", "terms", "lr", "grad_norm", "tokens_seen", "tokens_total"),
    *("seconds", "memory_bytes", "tokens_per_s"),
}
"""What a step must hold to be drawn."""

COUNTED = ("stage_index", "step", "tokens_seen", "seconds", "memory_bytes")
"""What of it is reckoned with."""

SENSITIVITY = "sensitivity/map.json"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """A run folder, a student's, or an ablation's."""

    name: str
    steps: Sequence[Step]
    recipe: str
    parts: Mapping[str, Found] = field(default_factory=dict)

    def part(self, name: str) -> Found:
        """One of PARTS, or "sensitivity"; empty where it is missing."""
        return self.parts.get(name, {})


def read_run(folder: Path) -> RunFiles:
    """Everything that a report shows of a folder.

    Raises ReportError where there is nothing, or a file that is no JSON.
    """
    parts = {name: _read_json(folder / f"{name}.json") for name in PARTS}
    parts["sensitivity"] = _read_json(folder / SENSITIVITY)
    steps, recipe = read_steps(folder / "metrics.jsonl"), folder / "recipe.toml"
    if not steps and not any(parts.values()):
        files = ", ".join(f"{name}.json" for name in PARTS)
        raise ReportError(f"{folder} holds no step of a run in metrics.jsonl, and none of {files}")
    return RunFiles(
        name=folder.resolve().name,
        steps=steps,
        recipe=_text(recipe) if recipe.is_file() else "",
        parts=parts,
    )


def read_steps(metrics: Path) -> list[Step]:
    """The logged steps, if any. A last line that a crash cut short is left out.

    Raises ReportError for a line before the last that is no JSON.
    """
    lines = _text(metrics).splitlines() if metrics.is_file() else []
    steps: list[Step] = []
    for number, line in enumerate(lines, start=1):
        try:
            step = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise ReportError(f"{metrics} line {number} is not JSON: {error}") from error
            break
        if not _is_step(step):
            raise ReportError(f"{metrics} line {number} is no step of a run")
        steps.append(step)
    return steps


def _is_step(found: Any) -> bool:
    if not isinstance(found, dict) or not found.keys() >= STEP:
        return False
    numbers = (found[key] for key in COUNTED)
    return isinstance(found["terms"], dict) and all(isinstance(x, int | float) for x in numbers)


def _read_json(file: Path) -> Found:
    if not file.is_file():
        return {}
    try:
        found = json.loads(_text(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReportError(f"{file} is not JSON: {error}") from error
    wanted = HOLDS.get(file.stem)
    if not isinstance(found, dict) or (wanted and wanted not in found):
        made = "eval --json" if file.stem == "eval" else "the verb that makes it"
        raise ReportError(f"{file} holds no {wanted or 'table'}: write it with asnn-goose {made}")
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
