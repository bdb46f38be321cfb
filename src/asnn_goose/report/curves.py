"""Losses, rates and speeds of a run over its tokens, as one SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 400
"""Points of a curve; more steps than that are drawn as means of neighbours."""

Step = Mapping[str, Any]
"""One line of metrics.jsonl."""


def curves(steps: Sequence[Step]) -> str:
    """Losses by term, learning rate, speed and gradient norm over tokens, as one SVG."""
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
