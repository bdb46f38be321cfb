"""A grid as a picture: one line per cell, its distance to the control, the seeds as dots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from asnn_goose import disk
from asnn_goose.study.comparison import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(rows: Sequence[Row], files: Sequence[Path]) -> None:
    """Write the plot to every file, in the format of its suffix (svg, png).

    One panel per text. Everything is a difference to the control with the same seed: small dots
    are the seeds, the full dot their mean with its 95 % interval. Cells right of the line are
    worse. Where no control is finished, the log ratios themselves are drawn.
    """
    texts = list(dict.fromkeys(row.text for row in rows))
    cells = list(dict.fromkeys(row.cell for row in rows))
    size = (1.5 + 5 * len(texts), 1.2 + 0.28 * len(cells))
    with figure_in(files, size=size) as figure:
        panels = figure.subplots(1, len(texts), squeeze=False, sharey=True)[0]
        for panel, text in zip(panels, texts, strict=True):
            _panel(panel, [row for row in rows if row.text == text], cells)
            panel.set_title(text)
        panels[0].set_yticks(range(len(cells)), cells)
        panels[0].invert_yaxis()


@contextmanager
def figure_in(files: Sequence[Path], *, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is written to every file once it is drawn, the same bytes each time."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "asnn-goose"}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            with disk.replaced_file(file) as fresh:
                figure.savefig(fresh, metadata=metadata)


def _panel(panel: Axes, rows: Sequence[Row], cells: Sequence[str]) -> None:
    control = next((row for row in rows if not row.changes), None)
    label = "ln(perplexity / teacher's)"
    if control is not None:
        panel.axvline(0.0, color="0.6", linestyle="--", linewidth=1)
        label += f", less the control's ({control.mean:.3f})"
    for row in rows:
        height, values = cells.index(row.cell), points(row, control)
        if values:
            panel.plot(values, [height] * len(values), ".", color="0.7", markersize=4)
            error = half_width(row)
            panel.errorbar([fmean(values)], [height], xerr=[error], fmt="o", color="C0", capsize=3)
    panel.set_xlabel(label)


def points(row: Row, control: Row | None) -> list[float]:
    """A cell's seeds, each less the control's score with that seed; seeds it lacks are left out.

    Unlike means these are fair where cells have different seeds.
    """
    if control is None:
        return list(row.by_seed.values())
    shared = sorted(row.by_seed.keys() & control.by_seed.keys())
    return [row.by_seed[seed] - control.by_seed[seed] for seed in shared]


def half_width(row: Row) -> float:
    """Half of the 95 % interval of the mean difference; 0 where it is not known."""
    width = row.difference.half_width if row.difference else 0.0
    return 0.0 if math.isnan(width) else width
