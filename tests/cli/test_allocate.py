"""`allocate`: a table of precision that a recipe can take."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.allocate import entry
from asnn_goose.model import GooseForCausalLM


def test_the_table_is_a_stages_precision(
    runner: CliRunner, student_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    words = ["--rung", "1x1", "--rung", "1x2@2.5", "--rung", "2x3", "--no-rotate"]
    words += ["--budget", "2.8", "--on", str(text_file), "--tokens", "256", "--out", str(tmp_path)]
    refused = runner.invoke(app, ["allocate", str(student_dir), *words])
    assert refused.exit_code == 2
    assert "rung 2 costs no more than rung 1 in bits" in refused.stderr
    result = runner.invoke(app, ["allocate", str(student_dir), *words[:2], *words[4:]])
    assert result.exit_code == 0, result.output
    (stage,) = [tomllib.loads((tmp_path / "precision.toml").read_text())["stage"]]
    found = json.loads((tmp_path / "allocation.json").read_text())
    assert stage["precision"] == found["precision"]
    assert 2.4 < found["spent"] <= 2.8
    model = GooseForCausalLM.from_pretrained(student_dir)
    model.set_precision(stage["precision"])
    parts = [part for block in model.blocks for part in (block.mixer, block.mlp)]
    matrices = [matrix.precision for part in parts for matrix in part.matrices().values()]
    assert {(found.planes, found.steps) for found in matrices} == {(1, 1), (2, 3)}
    assert f"of {2.8:g}" in result.stdout


def test_a_rung_is_planes_and_steps() -> None:
    assert entry("1x3", rotate=True) == {
        "planes": 1,
        "steps": 3,
        "threshold": 4.0,
        "rotate": True,
    }
    assert entry("2x2@2.5", rotate=False)["threshold"] == 2.5
    assert entry("2x0", rotate=True) == {"planes": 2, "steps": 0, "rotate": True}
    for wrong in ("3", "1x", "1x3@", "ternary", "-1x3"):
        with pytest.raises(ValueError, match="write planes and steps"):
            entry(wrong, rotate=True)
    with pytest.raises(ValueError, match="2 steps need a threshold"):
        entry("1x2", rotate=True)
