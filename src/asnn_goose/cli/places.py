"""Where a name on the command line leads to, found without torch."""

from __future__ import annotations

import json
from pathlib import Path

from asnn_goose.shape.settings import MODEL_TYPE


class SubjectError(ValueError):
    """There is no model to work on; the message says what was found instead."""


TEACHERS_RUN = ("[lab_teacher]", "[tuned_teacher]")
"""How recipe.toml begins where a run trained no student but a teacher."""


def run_recipe(name_or_path: str) -> Path | None:
    """recipe.toml of a student's run folder; None for what is no run folder.

    Raises SubjectError for the run folder of a teacher.
    """
    recipe = Path(name_or_path).expanduser() / "recipe.toml"
    if not recipe.is_file():
        return None
    if recipe.read_text(encoding="utf-8").startswith(TEACHERS_RUN):
        raise SubjectError(
            f"the run {name_or_path} trained a teacher: give {recipe.with_name('model')}"
        )
    return recipe


def student_folder(name_or_path: str) -> Path | None:
    """Folder with the weights of a student, packed or not; None where the name means a teacher.

    Raises SubjectError for a run that has not finished.
    """
    folder = Path(name_or_path).expanduser()
    if run_recipe(name_or_path) is not None:
        folder = folder / "model"
        if not folder.is_dir():
            raise SubjectError(
                f"the run {name_or_path} has no model/ yet: finish it with"
                f" asnn-goose distill {name_or_path}/recipe.toml --out {name_or_path} --resume"
            )
        return folder
    config = folder / "config.json"
    if config.is_file() and _model_type(config) == MODEL_TYPE:
        return folder
    return None


def _model_type(config: Path) -> str | None:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SubjectError(f"{config} is not readable as JSON: {error}") from error
    return found.get("model_type") if isinstance(found, dict) else None
