"""A run on one page.

In: the files of a run folder: metrics.jsonl, and recipe.toml and eval.json where they are there.
Out: report.html beside them, which needs nothing but itself: curves are SVG inside it.
Never here: a model, torch, a network; no other room of the house but the ground.
"""

from asnn_goose.report.page import ReportError, write_report

__all__ = ["ReportError", "write_report"]
