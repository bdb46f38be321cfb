"""What a name leads to, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asnn_goose.places import SubjectError, is_student, run_recipe, student_folder, student_place


def write(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_students_folder_and_its_finished_run_are_students(tmp_path: Path) -> None:
    folder = write(tmp_path / "run" / "model", model_type="asnn_goose")
    assert student_folder(str(folder)) == student_place(str(folder)) == folder
    assert run_recipe(str(folder)) is None
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text('name = "a"')
    assert run_recipe(str(tmp_path / "run")) == recipe
    assert student_folder(str(tmp_path / "run")) == folder
    assert is_student(str(tmp_path / "run"))


def test_another_model_or_nothing_is_no_student(tmp_path: Path) -> None:
    llama = write(tmp_path / "llama", model_type="llama")
    for name in (str(llama), str(tmp_path / "nowhere"), "smollm2-135m"):
        assert student_folder(name) is None
        assert not is_student(name)


def test_an_unfinished_run_is_told_from_a_student(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "a"')
    with pytest.raises(SubjectError, match="has no model/ yet"):
        student_folder(str(tmp_path))
    assert not is_student(str(tmp_path))


def test_the_run_of_a_teacher_is_named(tmp_path: Path) -> None:
    write(tmp_path / "model", model_type="llama")
    (tmp_path / "recipe.toml").write_text("[tuned_teacher]\n")
    with pytest.raises(SubjectError, match="trained a teacher: give"):
        student_folder(str(tmp_path))
    assert not is_student(str(tmp_path))


def test_a_damaged_config_is_named_and_is_no_student(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SubjectError, match="not readable as JSON"):
        student_folder(str(tmp_path))
    assert not is_student(str(tmp_path))
