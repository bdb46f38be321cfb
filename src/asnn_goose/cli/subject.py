"""What `eval` and `generate` work on: a run, a student's folder, or a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import AutoTokenizer
from transformers.utils import logging

from asnn_goose.cli.places import SubjectError, run_recipe, student_folder
from asnn_goose.format.packed import is_packed
from asnn_goose.model import GooseForCausalLM, load_teacher
from asnn_goose.model.teacher import gguf_option
from asnn_goose.sources import teacher_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from asnn_goose.eval.perplexity import TraceFn


__all__ = [
    "Subject",
    "SubjectError",
    "hush",
    "load",
    "load_tokenizer",
    "run_recipe",
    "student_folder",
]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A loaded model with its tokenizer; `trace` is what perplexity is computed from."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    trace: TraceFn


def hush() -> None:
    """Keep bars and warnings of Transformers out of our output."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of anything that `load` loads, without its weights."""
    hush()
    folder = student_folder(name_or_path) or teacher_folder(name_or_path)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, **gguf_option(folder)
    )
    return tokenizer


def load(name_or_path: str) -> Subject:
    """Load a run's student, a student's folder, a built-in teacher, a folder or a Hub id.

    Raises SubjectError, or what `load_teacher` raises.
    """
    hush()
    folder = student_folder(name_or_path)
    if folder is None:
        teacher = load_teacher(name_or_path)
        if teacher.tokenizer is None:
            raise SubjectError(f"{name_or_path} comes without a tokenizer")
        return Subject(
            name=name_or_path,
            model=teacher.model,
            tokenizer=teacher.tokenizer,
            trace=teacher.trace,
        )
    if is_packed(folder):
        raise SubjectError(
            f"{name_or_path} is packed, which only the engine runs: give the student that it was"
            " made from"
        )
    student: GooseForCausalLM = GooseForCausalLM.from_pretrained(folder)
    student.train(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Subject(name=name_or_path, model=student, tokenizer=tokenizer, trace=student.trace)
