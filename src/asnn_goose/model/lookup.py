"""Whether a name leads to a model that can teach, found out before any weight is read."""

from __future__ import annotations

from asnn_goose.model.teacher import TeacherError, gguf_option
from asnn_goose.model.teacher_config import load_config
from asnn_goose.places import is_student
from asnn_goose.sources import SourceError, teacher_folder


def check_teacher(name_or_path: str) -> None:
    """Raise TeacherError where neither `load_assistant` nor `load_teacher` would find a model.

    A built-in teacher is fetched, and of a model on the Hub its configuration.
    """
    if is_student(name_or_path):
        return
    try:
        folder = teacher_folder(name_or_path)
    except SourceError as error:
        raise TeacherError(f"teacher {name_or_path!r} cannot be loaded: {error}") from error
    # A GGUF states its family inside, and is asked when it is read.
    if not gguf_option(folder):
        load_config(folder, name=name_or_path)
