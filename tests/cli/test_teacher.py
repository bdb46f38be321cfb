"""Teachers: the list, and the description of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.sources import PypiWheel


def test_list_names_the_built_in_ones(runner: CliRunner) -> None:
    result = runner.invoke(app, ["teacher", "show"])
    assert result.exit_code == 0
    assert "smollm2-135m" in result.stdout
    assert "asnn-goose teacher fetch smollm2-135m" in result.stdout


@pytest.mark.parametrize("verb", ["show", "fetch"])
def test_description(runner: CliRunner, teacher_dir: Path, verb: str) -> None:
    result = runner.invoke(app, ["teacher", verb, str(teacher_dir)])
    assert result.exit_code == 0, result.output
    rows = {line[:12].strip(): line[12:].strip() for line in result.stdout.splitlines()}
    model = LlamaForCausalLM.from_pretrained(teacher_dir)
    assert rows["parameters"] == f"{sum(p.numel() for p in model.parameters()):,}"
    assert rows["family"] == "llama"
    assert rows["layers"] == "2"
    assert rows["heads"] == "2, key-value 1"
    assert rows["place"] == str(teacher_dir)
    assert rows["on disk"].endswith("kB")


def test_show_downloads_nothing(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PypiWheel, "fetch", lambda _: pytest.fail("went to the network"))
    result = runner.invoke(app, ["teacher", "show", "smollm2-135m"])
    assert result.exit_code == 0
    assert "not in the cache" in result.stdout


def test_a_near_miss_is_one_message(runner: CliRunner) -> None:
    result = runner.invoke(app, ["teacher", "show", "smollm2-153m"])
    assert result.exit_code == 2
    assert "did you mean 'smollm2-135m'" in result.stderr
