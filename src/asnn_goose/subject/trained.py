"""A trained student with its weights as they were learned: what can be exported."""

from __future__ import annotations

from pathlib import Path

from asnn_goose.format.packed import is_packed
from asnn_goose.infer.chat_template import read_chat_template
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.assistant import load_student
from asnn_goose.places import SubjectError, student_folder
from asnn_goose.subject.torch_model import hush


def trained_folder(student: str) -> Path:
    """Folder of a trained student with its tokenizer.json; raises SubjectError."""
    source = student_folder(student)
    if source is None:
        raise SubjectError(
            f"{student!r} is no student: give a run folder, or a folder that a run left in model/"
        )
    # Codes cannot be trained or packed anew: what they were rounded from is gone.
    if is_packed(source):
        raise SubjectError(f"{student} is packed already: give the student that it was made from")
    if not (source / "tokenizer.json").is_file():
        raise SubjectError(f"{source} has no tokenizer.json: save the student's tokenizer there")
    return source


def load_trained(student: str) -> GooseForCausalLM:
    """That student. Raises SubjectError, or TeacherError where its files are damaged."""
    hush()
    return load_student(str(trained_folder(student)))


def template_of(folder: Path) -> str | None:
    """The source of the chat template beside a tokenizer, None where there is none."""
    template = read_chat_template(folder)
    return None if template is None else template.source
