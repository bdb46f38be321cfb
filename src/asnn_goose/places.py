"""Where a name leads to: a run, a student's folder, or neither. Found without torch."""

from __future__ import annotations

import json
from pathlib import Path

from asnn_goose.shape.settings import MODEL_TYPE

TEACHERS_RUN = ("[lab_teacher]", "[tuned_teacher]")
"""How recipe.toml begins where a run trained no student but a teacher."""


class SubjectError(ValueError):
    """There is no model to work on; the message says what was found instead."""


def run_recipe(name_or_path: str) -> Path | None:
    """recipe.toml of a student's run folder; None for what is no run folder.

    Raises SubjectError for the run folder of a teacher.
    """
    recipe = Path(name_or_path).expanduser() / "recipe.toml"
    if not recipe.is_file():
        return None
    if recipe.read_bytes().startswith(tuple(word.encode() for word in TEACHERS_RUN)):
        raise SubjectError(
            f"the run {name_or_path} trained a teacher: give {recipe.with_name('model')}"
        )
    return recipe


def student_place(name_or_path: str) -> Path:
    """Where the weights of a run's student, or of a student's own folder, would be."""
    folder = Path(name_or_path).expanduser()
    return folder / "model" if (folder / "recipe.toml").is_file() else folder


def student_folder(name_or_path: str) -> Path | None:
    """Folder with the weights of a student, packed or not; None where the name means a teacher.

    Raises SubjectError for a run that has not finished, or trained a teacher.
    """
    folder = student_place(name_or_path)
    if run_recipe(name_or_path) is not None and not folder.is_dir():
        raise SubjectError(
            f"the run {name_or_path} has no model/ yet: resume its {name_or_path}/recipe.toml"
        )
    return folder if _model_type(folder / "config.json") == MODEL_TYPE else None


def is_student(name_or_path: str) -> bool:
    """Whether the name leads to a finished run or to the folder of a student."""
    try:
        return student_folder(name_or_path) is not None
    except (SubjectError, OSError):
        return False


def _model_type(config: Path) -> str | None:
    if not config.is_file():
        return None
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SubjectError(f"{config} is not readable as JSON: {error}") from error
    return found.get("model_type") if isinstance(found, dict) else None
