"""A sensitivity as a picture: layers down, matrices across, darker where it costs more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from asnn_goose import disk
from asnn_goose.study.plot import figure_in
from asnn_goose.study.sensitivity import Sensitivity


def write_map(found: Sensitivity, folder: Path, *, on: str) -> None:
    """Write map.json, map.svg and map.png; `on` names the text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"on": on, **found.as_dict()}, indent=1)
    disk.write_text(folder / "map.json", text + "\n")
    draw(found, [folder / "map.svg", folder / "map.png"])


def draw(found: Sensitivity, files: Sequence[Path]) -> None:
    """Write the map to every file, in the format of its suffix (svg, png)."""
    rows = [*found.cost, found.by_name]
    labels = [str(a) if a == b else f"{a}-{b}" for a, b in found.rows]
    size = (1.8 + 0.8 * len(found.names), 1.4 + 0.22 * len(rows))
    with figure_in(files, size=size) as figure:
        axes = figure.subplots()
        top = max((cost for row in found.cost for cost in row), default=0.0)
        image = axes.imshow(rows, aspect="auto", cmap="Reds", vmin=0.0, vmax=max(top, 1e-6))
        axes.set_xticks(range(len(found.names)), found.names, rotation=30, ha="right")
        axes.set_yticks(range(len(rows)), [*labels, "all"])
        axes.set_ylabel("layer")
        axes.set_title(f"nats per token; everything at once {found.whole:+.2f}")
        figure.colorbar(image)
