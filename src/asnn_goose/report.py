"""A run on one page: metrics.jsonl, and eval.json where there is one, to report.html.

The page needs nothing but itself: curves are SVG inside it, and it loads nothing.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 400
"""Points of a curve; more steps than that are drawn as means of neighbours."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd }
td:not(:first-child), th:not(:first-child) { text-align: right } th { text-align: left }
svg { width: 100%; height: auto } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto }
"""

Step = Mapping[str, Any]
"""One line of metrics.jsonl."""


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
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
    )
    target = run / "report.html"
    temporary = run / ".report.html.part"
    temporary.write_text(page, encoding="utf-8")
    return temporary.replace(target)


def read_steps(metrics: Path) -> list[Step]:
    """The logged steps. A last line that a crash cut short is left out."""
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    steps: list[Step] = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise ReportError(f"{metrics} line {number} is not JSON: {error}") from error
    if not steps:
        raise ReportError(f"{metrics} holds no step: a report needs a run that has begun")
    return steps


def _read_json(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{file} is not JSON: {error}") from error
    return found


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
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _paragraph(steps),
        _stage_table(steps),
        _score_table(scores),
        curves(steps),
        f"<h2>Recipe</h2><pre>{html.escape(recipe)}</pre>" if recipe else "",
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _paragraph(steps: Sequence[Step]) -> str:
    last = steps[-1]
    share = last["tokens_seen"] / last["tokens_total"]
    return (
        f"<p>{last['tokens_seen']:,} of {last['tokens_total']:,} tokens ({share:.0%}) in"
        f" {last['seconds'] / 60:,.1f} min; peak memory"
        f" {max(step['memory_bytes'] for step in steps) / 1e9:.2f} GB.</p>"
    )


def _stage_table(steps: Sequence[Step]) -> str:
    rows = [
        (
            stage.name,
            f"{stage.steps:,}",
            f"{stage.tokens:,}",
            f"{stage.seconds / 60:,.1f}",
            f"{stage.tokens / stage.seconds:,.0f}" if stage.seconds else "",
            f"{stage.last['lr']:.2e}",
            f"{stage.last['grad_norm']:.3g}",
            ", ".join(f"{name} {value:.4f}" for name, value in stage.last["terms"].items()),
        )
        for stage in summaries(steps)
    ]
    heads = ("stage", "steps", "tokens", "minutes", "tokens/s", "last lr", "last norm", "losses")
    return "<h2>Stages</h2>" + table(heads, rows)


def _score_table(scores: Mapping[str, Any]) -> str:
    """Perplexities of eval.json, and the ratio of each text."""
    if not scores:
        return ""
    ratios = scores.get("ratios", {})
    rows = [
        (
            row["text"],
            row["model"],
            f"{row['score']['tokens']:,}",
            _number(row["perplexity"], ",.2f"),
            _number(row["bits_per_byte"], ".3f"),
            _number(ratios.get(row["text"]), ".3f") if row["model"] == "student" else "",
        )
        for row in scores["measurements"]
    ]
    return "<h2>Scores</h2>" + table(
        ("text", "model", "tokens", "perplexity", "bits/byte", "ratio"), rows
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; every cell is escaped."""
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def curves(steps: Sequence[Step]) -> str:
    """Losses by term, learning rate, speed and gradient norm over tokens, as one SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Text stays text, and the same run gives the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "asnn-goose"}):
        figure = Figure(figsize=(10, 7), layout="constrained")
        axes = figure.subplots(2, 2)
        _loss_curves(axes[0, 0], steps)
        for place, field, label in (
            ((0, 1), "lr", "learning rate"),
            ((1, 0), "tokens_per_s", "tokens/s"),
            ((1, 1), "grad_norm", "gradient norm"),
        ):
            _curve(axes[place], [(s["tokens_seen"], s[field]) for s in steps])
            axes[place].set_ylabel(label)
        for axis in axes.flat:
            _mark_stages(axis, steps)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _loss_curves(axis: Axes, steps: Sequence[Step]) -> None:
    """One line per term, which breaks where a stage does without it."""
    names = dict.fromkeys(name for step in steps for name in step["terms"])
    for name in names:
        points = [(s["tokens_seen"], s["terms"].get(name, float("nan"))) for s in steps]
        _curve(axis, points, label=name)
    positive = all(value > 0 for step in steps for value in step["terms"].values())
    axis.set_yscale("log" if positive else "linear")
    axis.set_ylabel("losses, weighted")
    axis.legend()


def _curve(axis: Axes, points: Sequence[tuple[float, float]], label: str = "") -> None:
    thinned = thin(points)
    axis.plot([x for x, _ in thinned], [y for _, y in thinned], linewidth=1, label=label)
    axis.set_xlabel("training tokens")


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS points: means of equal runs of neighbours."""
    size = -(-len(points) // MOST_POINTS)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(_mean([x for x, _ in run]), _mean([y for _, y in run])) for run in runs]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mark_stages(axis: Axes, steps: Sequence[Step]) -> None:
    """A line where a stage ends and another begins."""
    for before, after in pairwise(steps):
        if before["stage_index"] != after["stage_index"]:
            axis.axvline(before["tokens_seen"], color="0.7", linestyle=":", linewidth=1)
