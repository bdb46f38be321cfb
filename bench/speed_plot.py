"""Tokens per second against perplexity, for every (planes, steps) that was measured.

    python bench/speed_plot.py points.json [--out speed.png]

points.json is what bench/decode.py --json writes, with perplexities where a trained student was
named: {"points": [{"name" or "planes", "steps"; "tokens_per_s", "perplexity"}], "teacher":
{"name", "tokens_per_s", "perplexity"}}. Without any perplexity the speeds alone are drawn. Needs
matplotlib.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def rows(content: dict[str, Any]) -> list[Row]:
    """Every point that has a speed, the teacher last, with its name."""
    found = [
        {"name": f"{p.get('planes')} plane(s), {p.get('steps')} step(s)", **p}
        for p in content.get("points", [])
    ]
    found += [content["teacher"]] if content.get("teacher") else []
    return [row for row in found if row.get("tokens_per_s")]


def draw(found: list[Row], file: Path) -> None:
    """Scatter with perplexities, bars without. Raises ImportError without matplotlib."""
    importlib.import_module("matplotlib").use("Agg")
    plots: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = plots.subplots(figsize=(7, 4.5), layout="constrained")
    known = [row for row in found if row.get("perplexity")]
    if known:
        middle = max(row["perplexity"] for row in known) / 2
        for row in known:
            place = (row["perplexity"], row["tokens_per_s"])
            axes.plot(*place, "o")
            side = (-6, "right") if row["perplexity"] > middle else (6, "left")
            text = {"textcoords": "offset points", "xytext": (side[0], 4), "ha": side[1]}
            axes.annotate(row["name"], place, **text)
        axes.set(xlabel="perplexity (lower is better)", ylabel="tokens/s", ylim=(0, None))
    else:
        axes.barh([row["name"] for row in found], [row["tokens_per_s"] for row in found])
        axes.set(xlabel="tokens/s (no trained student yet)")
    axes.set_title("SmolLM2-135M shapes, one core")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Read, draw, and say where the picture is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", type=Path, nargs="?", default=Path("points.json"))
    parser.add_argument("--out", type=Path, default=Path("speed.png"))
    options = parser.parse_args()
    if not options.points.is_file():
        print(f"not run: no {options.points}; bench/decode.py --json writes it")
        return
    found = rows(json.loads(options.points.read_text(encoding="utf-8")))
    try:
        draw(found, options.out)
    except ImportError:
        print("not run: needs matplotlib (pip install matplotlib)")
        return
    print(options.out)


if __name__ == "__main__":
    main()
