"""Runs on one page: whatever their folders hold, as report.html."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from asnn_goose import __version__, disk
from asnn_goose.report.charts import charts
from asnn_goose.report.jinja_template import template
from asnn_goose.report.run_files import ReportError as ReportError
from asnn_goose.report.run_files import RunFiles, read_run, summaries


def write_report(*runs: Path, out: Path | None = None) -> Path:
    """Write the page of one or more runs and return its path; by default beside the first run.

    Raises ReportError where a folder holds nothing to show, or what is not JSON.
    """
    target = out or runs[0] / "report.html"
    # Before the runs are read: large ones take a while.
    disk.check_file(target, kind="page", is_one=disk.PAGE)
    found = [read_run(run) for run in runs]
    target.parent.mkdir(parents=True, exist_ok=True)
    disk.write_text(target, render(found))
    return target


def render(runs: Sequence[RunFiles]) -> str:
    """The page as HTML."""
    drawn = [charts(run) for run in runs]
    numbered = {
        f"{number}-{part}-{place}": chart
        for number, parts in enumerate(drawn)
        for part, held in parts.items()
        for place, chart in enumerate(held)
    }
    # Names of runs, texts and terms are a user's own: everything is escaped.
    return template("report.html", escaped=True, number=_number).render(
        title=", ".join(run.name for run in runs),
        runs=[
            {
                "run": run,
                "number": number,
                "stages": summaries(run.steps),
                "peak_bytes": max((step["memory_bytes"] for step in run.steps), default=0),
                "charts": drawn[number],
                "environment": environment(run),
            }
            for number, run in enumerate(runs)
        ],
        beside=beside(runs),
        data=_script_json(numbered),
    )


def beside(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """A row for each run: what it comes to, in a few numbers."""
    rows = []
    for run in runs:
        scores = {
            row["text"]: row["perplexity"]
            for row in run.part("eval").get("measurements", ())
            if row["model"] != "teacher"
        }
        kept = [r["value"] for r in run.part("tasks").get("relative", {}).values() if r]
        rates = run.part("bench").get("rates", ())
        rows.append(
            {
                "name": run.name,
                "tokens": run.steps[-1]["tokens_seen"] if run.steps else None,
                "perplexity": scores,
                "ratios": run.part("eval").get("ratios", {}),
                "relative": sum(kept) / len(kept) if kept else None,
                "density": run.part("bench").get("density"),
                "decode": max((rate["decode"] for rate in rates), default=None),
            }
        )
    return rows


def environment(run: RunFiles) -> dict[str, str]:
    """Where and with what: as the scores say, else as it is here and now."""
    protocol: Mapping[str, Any] = run.part("eval").get("protocol", {})
    versions = protocol.get("versions", {"asnn-goose": __version__})
    found = {name: str(version) for name, version in versions.items()}
    found["python"] = str(protocol.get("python", platform.python_version()))
    found["machine"] = str(protocol.get("machine", platform.machine()))
    for name in ("threads", "seed", "window", "limit"):
        if protocol.get(name) is not None:
            found[name] = str(protocol[name])
    return found


def _script_json(value: Any) -> Markup:
    """JSON that may stand in a script: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _number(value: float | None, form: str) -> str:
    """A number in a form of `format`; nothing where there is none."""
    return "" if value is None else format(value, form)
