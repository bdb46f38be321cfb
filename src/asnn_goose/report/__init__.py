"""Runs on one page.

In: the files of run folders: metrics.jsonl, recipe.toml, and what verbs wrote with --json.
Out: report.html beside them, which needs nothing but itself: data, style and what draws them.
Never here: a model, torch, a network; no other room of the house but the ground.
"""

from asnn_goose.report.page import ReportError, write_report

__all__ = ["ReportError", "write_report"]
