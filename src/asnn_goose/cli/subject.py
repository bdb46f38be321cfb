"""What `eval` and `generate` work on: a run, a student's folder, or a teacher."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer
from transformers.utils import logging

from asnn_goose.model import GooseForCausalLM, load_teacher
from asnn_goose.model.teacher import gguf_option
from asnn_goose.sources import teacher_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from asnn_goose.eval.perplexity import TraceFn


class SubjectError(ValueError):
    """There is no model to work on; the message says what was found instead."""


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


def run_recipe(name_or_path: str) -> Path | None:
    """recipe.toml of a run folder; None for anything else."""
    recipe = Path(name_or_path).expanduser() / "recipe.toml"
    return recipe if recipe.is_file() else None


def student_folder(name_or_path: str) -> Path | None:
    """Folder with the weights of a student; None where the name means a teacher.

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
    if config.is_file() and _model_type(config) == GooseForCausalLM.config_class.model_type:
        return folder
    return None


def _model_type(config: Path) -> str | None:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SubjectError(f"{config} is not readable as JSON: {error}") from error
    return found.get("model_type") if isinstance(found, dict) else None


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
    student: GooseForCausalLM = GooseForCausalLM.from_pretrained(folder)
    student.train(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Subject(name=name_or_path, model=student, tokenizer=tokenizer, trace=student.trace)
