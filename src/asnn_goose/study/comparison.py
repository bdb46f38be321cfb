"""From the scores of a grid's runs to a table: means, spreads, differences to the control."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from asnn_goose.eval.comparison import finite
from asnn_goose.study.grid import Grid
from asnn_goose.study.scores import Scores
from asnn_goose.study.statistics import Paired, false_discovery, paired, spread

HEADS = [
    "cell", "changes", "seeds", "ratio", "ln ratio", "spread", "difference", "p", "q", "tokens/s"
]  # fmt: skip

SAME = 1e-6
"""Relative difference that two scores of one teacher on one text may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell on one text, over its finished seeds.

    by_seed       seed -> ln(student's perplexity / teacher's)
    mean, spread  of these; spread is the sample standard deviation, nan below two seeds
    difference    to the control over the seeds that both have; None for the control itself, and
                  where they share none. Below zero is better than the control.
    q             p of the difference, adjusted for the number of cells on this text; nan without
    tokens_per_s  mean training speed
    """

    cell: str
    changes: tuple[str, ...]
    text: str
    by_seed: Mapping[int, float]
    mean: float
    spread: float
    difference: Paired | None
    tokens_per_s: float
    q: float = math.nan


def comparable(grid: Grid, scores: Sequence[Scores]) -> tuple[list[Scores], dict[str, str]]:
    """Runs on the control's windows against its teacher, and why each of the others is left out.

    Where no control is finished, the first run says what the windows are.
    """
    of_control = [one for one in scores if one.cell == grid.control.name]
    kept, refused = [], {}
    for one in scores:
        reason = _difference_of_windows(one, (of_control or list(scores))[0])
        if reason is None:
            kept.append(one)
        else:
            refused[f"{one.cell}-seed{one.seed}"] = reason
    return kept, refused


def _difference_of_windows(one: Scores, standard: Scores) -> str | None:
    for text, (tokens, nll) in one.teacher.items():
        wanted, wanted_nll = standard.teacher[text]
        if tokens != wanted or not math.isclose(nll, wanted_nll, rel_tol=SAME):
            return (
                f"its teacher scored {nll:.2f} nats on {tokens} tokens of {text!r}, that of"
                f" {standard.cell!r} {wanted_nll:.2f} on {wanted}: not the same text or teacher"
            )
    return None


def compare(grid: Grid, scores: Sequence[Scores]) -> list[Row]:
    """Rows by text, the best cell first; cells without a finished run are left out."""
    finished = {one.cell for one in scores}
    rows = []
    for text in grid.scoring.on:
        of_text = [
            _row(grid, cell.name, cell.changes, text, scores)
            for cell in grid.cells
            if cell.name in finished
        ]
        # Adjusted by text: each is a table of its own, out of which somebody picks the best row.
        rows += sorted(_adjusted(of_text), key=lambda row: (_against_control(row), row.mean))
    return rows


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    """Rows of one text with what the number of cells makes of their p-values."""
    p = [row.difference.p if row.difference else math.nan for row in rows]
    return [replace(row, q=q) for row, q in zip(rows, false_discovery(p), strict=True)]


def _against_control(row: Row) -> float:
    """Difference to the control; unlike means it is fair where cells have different seeds."""
    if not row.changes:
        return 0.0
    return row.difference.mean if row.difference else math.inf


def _row(
    grid: Grid, cell: str, changes: tuple[str, ...], text: str, scores: Sequence[Scores]
) -> Row:
    own, control = _by_seed(scores, cell, text), _by_seed(scores, grid.control.name, text)
    # Seed by seed: what a seed does to both is no difference between recipes.
    shared = sorted(own.keys() & control.keys())
    differs = bool(shared) and cell != grid.control.name
    return Row(
        cell=cell,
        changes=changes,
        text=text,
        by_seed=own,
        mean=fmean(own.values()),
        spread=spread(list(own.values())),
        difference=paired([own[seed] - control[seed] for seed in shared]) if differs else None,
        tokens_per_s=fmean(s.tokens_per_s for s in scores if s.cell == cell),
    )


def _by_seed(scores: Sequence[Scores], cell: str, text: str) -> dict[int, float]:
    return {s.seed: s.log_ratios[text] for s in scores if s.cell == cell}


def markdown(grid: Grid, rows: Sequence[Row], failures: Mapping[str, str]) -> str:
    """One table per text, then what failed."""
    parts = [f"# {grid.name}\n", _caption(grid)]
    for text in grid.scoring.on:
        parts.append(f"\n## {text}\n")
        parts.append(_table(row for row in rows if row.text == text))
    if failures:
        parts.append("\n## Failed\n")
        parts += [f"- {run}: {reason}" for run, reason in failures.items()]
    return "\n".join(parts) + "\n"


def _caption(grid: Grid) -> str:
    return (
        f"ln ratio: mean over seeds of ln(student's perplexity / teacher's). Difference to the"
        f" control ({grid.control.name}) over shared seeds, with its standard error; below zero is"
        f" better. p: paired t-test, two-sided; q: p corrected for the number of cells (false"
        f" discovery rate, Benjamini and Hochberg)."
        f" {grid.control.tokens:,} training tokens; window {grid.scoring.window}."
    )


def _table(rows: Iterable[Row]) -> str:
    lines = [HEADS, ["---"] * len(HEADS), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> list[str]:
    return [
        row.cell if row.changes else f"**{row.cell}**",
        " ".join(f"`{change}`" for change in row.changes).replace("|", "\\|"),
        str(len(row.by_seed)),
        f"{math.exp(row.mean):.3f}",
        f"{row.mean:.4f}",
        _number(row.spread, ".4f"),
        _difference(row.difference),
        _number(row.difference.p if row.difference else math.nan, ".3f"),
        _number(row.q, ".3f"),
        _number(row.tokens_per_s, ",.0f"),
    ]


def _difference(found: Paired | None) -> str:
    if found is None:
        return ""
    error = "" if math.isnan(found.error) else f" ± {found.error:.4f}"
    return f"{found.mean:+.4f}{error}"


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def as_json(grid: Grid, rows: Sequence[Row], failures: Mapping[str, str]) -> str:
    """Everything in the table, unrounded; null where a number is not known."""
    content = {
        "grid": grid.name,
        "control": grid.control.name,
        "scoring": grid.scoring.model_dump(),
        "tokens": {cell.name: cell.tokens for cell in grid.cells},
        "rows": [finite(asdict(row)) for row in rows],
        "failures": dict(failures),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
