"""The notebook runs from top to bottom, and holds no output of some other day."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(cells(), start=1):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert names["difference"] < 0.05
    assert len(names["drawn"]) == 20


def test_nothing_is_kept_of_another_run() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
