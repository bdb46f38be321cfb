"""What is drawn: plain tables of numbers, from which the page makes its pictures.

A chart has a kind (lines, bars, heat, raster), a title, and what that kind needs. Numbers are
rounded to five digits: nobody sees more, and the page stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from asnn_goose.report.run_files import Found, RunFiles, Step

MOST_POINTS = 400
"""Points of a curve; more steps than that are drawn as means of neighbours."""

Chart = dict[str, Any]
Points = Sequence[tuple[float, float]]


def charts(run: RunFiles) -> dict[str, list[Chart]]:
    """Charts of a run by the part of the page that they belong to, none where there are no data."""
    parts: dict[str, Callable[[], Iterator[Chart]]] = {
        "training": lambda: training(run.steps, run.part("eval")),
        "streams": lambda: streams(run.part("stream")),
        "tasks": lambda: tasks(run.part("tasks")),
        "recall": lambda: recall(run.part("recall")),
        "spikes": lambda: spikes(run.part("spikes")),
        "sensitivity": lambda: sensitivity(run.part("sensitivity")),
        "energy": lambda: energy(run.part("bench")),
    }
    return {name: list(make()) for name, make in parts.items()}


def training(steps: Sequence[Step], scores: Found) -> Iterator[Chart]:
    """Losses by term, perplexity, learning rate, speed and gradient norm over tokens."""
    if not steps:
        return
    stages = [
        {"x": before["tokens_seen"], "label": after["stage"]}
        for before, after in pairwise(steps)
        if before["stage_index"] != after["stage_index"]
    ]
    marks = [{"x": 0, "label": steps[0]["stage"]}, *stages]
    names = dict.fromkeys(name for step in steps for name in step["terms"])
    losses = {name: _over_tokens(steps, "terms", name) for name in names}
    yield lines("losses, weighted", losses, x="training tokens", marks=marks, log=True)
    yield from perplexities(steps, scores, marks)
    for key, title in (
        ("lr", "learning rate"),
        ("tokens_per_s", "tokens a second"),
        ("grad_norm", "gradient norm"),
    ):
        curve = {title: _over_tokens(steps, key)}
        yield lines(title, curve, x="training tokens", marks=marks)


def perplexities(
    steps: Sequence[Step], scores: Found, marks: Sequence[Mapping[str, Any]]
) -> Iterator[Chart]:
    """Of held-out windows while training, and what `eval` found at the end, beside the teacher."""
    nats = _over_tokens(steps, "readings", "validation.ce")
    # Above 700 exp overflows: a run that diverged must not end its own report.
    held = [(tokens, math.exp(min(value, 700.0))) for tokens, value in nats]
    series = {"validation": held} if held else {}
    last = float(steps[-1]["tokens_seen"])
    for row in scores.get("measurements", ()):
        value = row.get("perplexity")
        if value is None:
            continue
        name = f"{row['text']}, {row['model']}"
        flat = row["model"] == "teacher"
        series[name] = [(0.0, value), (last, value)] if flat else [(last, value)]
    if series:
        dashed = {name for name, points in series.items() if len(points) == 2}
        yield lines("perplexity", series, x="training tokens", marks=marks, log=True, dashed=dashed)


def streams(found: Found) -> Iterator[Chart]:
    """Losses by place: does a longer context help, and does nothing break far out?"""
    texts = dict.fromkeys(row["text"] for row in found.get("streams", ()))
    for text in texts:
        series = {
            row["model"]: [
                (float(name.split("-")[0].rstrip("+")) or 1.0, part["mean"])
                for name, part in row["by_place"].items()
                if part["mean"] is not None
            ]
            for row in found["streams"]
            if row["text"] == text
        }
        yield lines(f"nats a token by place, {text}", series, x="place from", log_x=True)


def tasks(found: Found) -> Iterator[Chart]:
    """Scores with standard errors, chance as a bar of its own."""
    by_role: Mapping[str, Any] = found.get("tasks", {})
    if not by_role:
        return
    names = list(next(iter(by_role.values())))
    groups = [
        {
            "name": task,
            "bars": [
                {"name": role, "value": scores[task]["value"], "error": scores[task]["error"]}
                for role, scores in by_role.items()
            ]
            + [{"name": "chance", "value": next(iter(by_role.values()))[task]["chance"]}],
        }
        for task in names
    ]
    yield {"kind": "bars", "title": "tasks", "y": "score", "groups": _rounded(groups)}


def recall(found: Found) -> Iterator[Chart]:
    """A chart for each task: share recalled over distance."""
    rows = [(role, row) for role, of in found.get("recall", {}).items() for row in of]
    for task in dict.fromkeys(row["task"] for _, row in rows):
        series: dict[str, list[tuple[float, float]]] = {}
        for role, row in rows:
            if row["task"] == task:
                series.setdefault(role, []).append((row["distance"], row["right"]))
        yield lines(f"recalled: {task}", series, x="distance in tokens", log_x=True, top=1.0)


def spikes(found: Found) -> Iterator[Chart]:
    """Rates and information by place and layer, CKA by layer, and a sentence in spikes."""
    places = found.get("places", ())
    if not places:
        return
    yield heat("firing rate", _by_layer(places, lambda p: p["rate"]))
    yield heat("dead channels", _by_layer(places, lambda p: p["dead"]))
    if any(place.get("information") for place in places):
        told = _by_layer(places, lambda p: (p.get("information") or {}).get("bits"))
        yield heat("bits told of the teacher", told)
    if found.get("cka"):
        curve = [(float(layer), value) for layer, value in found["cka"].items()]
        yield lines("CKA with the teacher", {"CKA": curve}, x="layer", top=1.0)
    raster = found.get("raster") or {}
    for name, codes in list(raster.get("places", {}).items())[:: max(1, len(places) // 6)]:
        yield {
            "kind": "raster",
            "title": f"spikes of a sentence: {name}",
            "columns": raster["tokens"],
            "cells": codes,
        }


def sensitivity(found: Found) -> Iterator[Chart]:
    """What lowering each matrix alone costs."""
    if not found:
        return
    rows = [str(a) if a == b else f"{a}-{b}" for a, b in found["rows"]]
    yield {
        "kind": "heat",
        "title": "nats a token that lowering one matrix costs",
        "rows": rows,
        "columns": list(found["names"]),
        "cells": _rounded(found["cost"]),
    }


def energy(found: Found) -> Iterator[Chart]:
    """Energy of the arithmetic by part, beside dense matrices of the same shapes."""
    if not found:
        return
    groups = [
        {"name": work["part"], "bars": [{"name": "µJ", "value": work["picojoules"] / 1e6}]}
        for work in found["work"]
    ]
    whole = sum(work["picojoules"] for work in found["work"]) / 1e6
    groups.append({"name": "together", "bars": [{"name": "µJ", "value": whole}]})
    groups += [
        {"name": f"dense {form}", "bars": [{"name": "µJ", "value": value / 1e6}]}
        for form, value in found["dense_picojoules"].items()
    ]
    title = "arithmetic of a token in 45 nm silicon"
    yield {"kind": "bars", "title": title, "y": "µJ", "groups": _rounded(groups)}


def lines(
    title: str,
    series: Mapping[str, Points],
    *,
    x: str,
    marks: Sequence[Mapping[str, Any]] = (),
    log: bool = False,
    log_x: bool = False,
    top: float | None = None,
    dashed: Iterable[str] = (),
) -> Chart:
    """Curves; a logarithmic axis where it was asked for and every value is above 0."""
    values = [y for points in series.values() for _, y in points]
    return {
        "kind": "lines",
        "title": title,
        "x": x,
        "log": log and all(value > 0 for value in values),
        "logX": log_x,
        "top": top,
        "marks": list(marks),
        "series": [
            {"name": name, "dashed": name in set(dashed), "points": _rounded(thin(points))}
            for name, points in series.items()
        ],
    }


def heat(title: str, table: Mapping[str, Mapping[int, float | None]]) -> Chart:
    """Layers down, places across."""
    layers = sorted({layer for column in table.values() for layer in column})
    return {
        "kind": "heat",
        "title": title,
        "rows": ["head" if layer < 0 else str(layer) for layer in layers],
        "columns": list(table),
        "cells": _rounded([[column.get(layer) for column in table.values()] for layer in layers]),
    }


def _by_layer(
    places: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float | None]
) -> dict[str, dict[int, float | None]]:
    found: dict[str, dict[int, float | None]] = {}
    for place in places:
        layer = -1 if place["layer"] is None else place["layer"]
        found.setdefault(place["site"], {})[layer] = value(place)
    return found


def _over_tokens(steps: Sequence[Step], *keys: str) -> list[tuple[float, float]]:
    """A number of every step that has it, found by its keys, with the tokens seen."""
    found = []
    for step in steps:
        value: Any = step
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and math.isfinite(value):
            found.append((float(step["tokens_seen"]), float(value)))
    return found


def thin(points: Points) -> list[tuple[float, float]]:
    """At most MOST_POINTS points: means of equal runs of neighbours."""
    size = max(1, -(-len(points) // MOST_POINTS))
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(fmean(x for x, _ in run), fmean(y for _, y in run)) for run in runs]


def _rounded(value: Any) -> Any:
    """The same with five digits of every number."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
