"""`spikes`: a student on a text, alone and beside its teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.model import GooseForCausalLM


@pytest.fixture
def spiking_dir(student_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path / "spiking"
    model = GooseForCausalLM.from_pretrained(student_dir)
    torch.manual_seed(2)
    model.set_precision({"*": {"steps": 1, "threshold": 0.7}})
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_beside_its_teacher(
    runner: CliRunner, spiking_dir: Path, teacher_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "spikes.json"
    words = ["--on", str(text_file), "--teacher", str(teacher_dir), "--tokens", "600"]
    result = runner.invoke(app, ["spikes", str(spiking_dir), *words, "--json", str(file)])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    assert found["tokens"] == 512  # whole windows
    assert set(found["cka"]) == {"1", "2"}
    places = {place["name"]: place for place in found["places"]}
    assert all(0 <= place["rate"] <= 1 for place in places.values())
    assert places["blocks.1.mlp.value"]["information"]["bits"] is not None
    assert len(found["gates"]) == 5
    raster = found["raster"]
    assert len(raster["tokens"]) == 32
    assert "A goose flew" in "".join(raster["tokens"])
    codes = raster["places"]["blocks.0.mixer.key"]
    assert (len(codes), len(codes[0])) == (16, 32)
    assert {code for row in codes for code in row} == {-1, 0, 1}
    assert "firing rate" in result.stdout


def test_a_student_alone(
    runner: CliRunner, spiking_dir: Path, student_dir: Path, text_file: Path
) -> None:
    words = ["--on", str(text_file), "--no-teacher"]
    result = runner.invoke(app, ["spikes", str(spiking_dir), *words])
    assert result.exit_code == 0, result.output
    assert "CKA" not in result.stdout
    dense = runner.invoke(app, ["spikes", str(student_dir), *words])
    assert dense.exit_code == 2
    assert "has no spikes" in dense.stderr
