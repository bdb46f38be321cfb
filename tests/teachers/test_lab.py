"""The lab teacher's training is an ordinary run: it learns, resumes, and gives a teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig

from asnn_goose.model import load_teacher
from asnn_goose.teachers.lab import LAB, lab_plan
from asnn_goose.teachers.lab_teacher import lab_config
from asnn_goose.teachers.text_recipe import TextTraining
from asnn_goose.train.loop import run
from asnn_goose.train.run_errors import CheckpointError


class Quiet:
    def on_step(self, info: object) -> None:
        pass

    def on_message(self, text: str) -> None:
        pass


@pytest.fixture
def config() -> LlamaConfig:
    config = lab_config(layers=1, vocabulary=270)
    config.hidden_size, config.intermediate_size, config.head_dim = 24, 32, 8
    return config


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextTraining:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("the goose flies over the quiet lake " * 60 for _ in range(40)))
    return replace(LAB, tokens=640, window=32, batch=2, lr=1e-2, texts=(str(text),))


def train(settings: TextTraining, config: LlamaConfig, out: Path, *, resume: bool = False) -> Path:
    plan = lab_plan(settings, config=config, tell=lambda text: None)
    return run(plan, out=out, resume=resume, progress=Quiet())


def test_a_run_gives_a_teacher(settings: TextTraining, config: LlamaConfig, tmp_path: Path) -> None:
    model = train(settings, config, tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == settings.steps == 10
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.3
    assert {line["stage"] for line in lines} == {"pretrain"}
    teacher = load_teacher(str(model))
    assert teacher.config.hidden_size == 24
    assert teacher.tokenizer is not None
    assert len(teacher.tokenizer) == 270


def test_it_is_resumed_only_with_its_own_settings(
    settings: TextTraining, config: LlamaConfig, tmp_path: Path
) -> None:
    train(settings, config, tmp_path / "run")
    train(settings, config, tmp_path / "run", resume=True)
    with pytest.raises(CheckpointError, match="lab teacher was"):
        train(replace(settings, lr=1e-3), config, tmp_path / "run", resume=True)


def test_the_tokenizer_is_trained_once(
    settings: TextTraining, config: LlamaConfig, tmp_path: Path
) -> None:
    told: list[str] = []

    def trained() -> int:
        lab_plan(settings, config=config, tell=told.append)
        return sum(text.startswith("training") for text in told)

    assert [trained(), trained()] == [1, 1]
    Path(settings.texts[0]).write_text("the old teacher writes a long letter home " * 900)
    assert trained() == 2


def test_a_budget_below_two_steps_is_an_error() -> None:
    with pytest.raises(ValueError, match="tokens = 4096: must be above 4096"):
        replace(LAB, tokens=4096)
