"""`recall`: student and teacher, as far as each can look back."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from asnn_goose.cli import app


def test_student_and_teacher(
    runner: CliRunner, student_dir: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "recall.json"
    words = ["--teacher", str(teacher_dir), "--to", "64", "--engine", "torch"]
    result = runner.invoke(app, ["recall", str(student_dir), *words, "--json", str(file)])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    rows = {role: {row["task"] for row in rows} for role, rows in found["recall"].items()}
    assert rows["student"] == rows["teacher"] == {"copy", "induction", "association", "passkey"}
    assert any(line.startswith("copy") for line in result.stdout.splitlines())


def test_too_near(runner: CliRunner, student_dir: Path) -> None:
    result = runner.invoke(app, ["recall", str(student_dir), "--to", "10"])
    assert result.exit_code == 2
    assert "--to 10: must be at least 64" in result.stderr
