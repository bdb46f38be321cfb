"""Learned temperatures over a stage, beside the one that the reference system observed.

    python bench/temperature_plot.py RUN [RUN ...] [--out temperature.png]

RUN is the folder of a run with a `ctkd` loss. The reference's four points are those of v12.1 in the
changelog of the public ASNN-Goose repository (GPT-2, WikiText-2, 3000 steps). Needs matplotlib.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

REFERENCE = ((0.0, 2.0000), (0.2, 2.0014), (0.5, 1.6422), (1.0, 1.5751))
"""Share of the training and temperature."""

Curve = list[tuple[float, float]]


def curve(run: Path) -> Curve:
    """Share of the stage and temperature, of every step that has one."""
    file = run / "metrics.jsonl"
    if not file.is_file():
        sys.exit(f"{run}: no metrics.jsonl; name the folder of a run")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = []
    for line in lines:
        read = line.get("readings", {})
        if "ctkd.temperature" in read:
            found.append((line["step"] / line["steps"], read["ctkd.temperature"]))
    if not found:
        sys.exit(f"{run}: no step has a temperature; its recipe needs the loss ctkd")
    return found


def draw(curves: dict[str, Curve], file: Path) -> None:
    """Lines of the runs, points of the reference. Raises ImportError without matplotlib."""
    importlib.import_module("matplotlib").use("Agg")
    plots: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = plots.subplots(figsize=(7, 4), layout="constrained")
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=name)
    axes.plot(*zip(*REFERENCE, strict=True), "ko--", label="reference system, v12.1")
    axes.set(xlabel="share of the training", ylabel="temperature")
    axes.legend()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Read, draw, and say where the picture is and where the temperatures end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("temperature.png"))
    options = parser.parse_args()
    curves = {run.name: curve(run) for run in options.run}
    try:
        draw(curves, options.out)
    except ImportError:
        print("not run: needs matplotlib (pip install matplotlib)")
        return
    for name, points in curves.items():
        ends = ", ".join(
            f"{next(value for at, value in points if at >= share):.3f} at {share:.0%}"
            for share in (0.2, 0.5, 1.0)
        )
        print(f"{name}: {points[0][1]:.3f} at first, {ends}")
    print(options.out)


if __name__ == "__main__":
    main()
