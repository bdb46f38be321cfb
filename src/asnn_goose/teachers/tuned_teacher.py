"""The teacher itself, tuned on text: the control of a student that also learned from the text.

A student whose recipe has the loss `ce` saw the text besides the teacher, and may come to lie below
the teacher's perplexity by that alone. What the teacher gains from the same windows says how much.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from accelerate import Accelerator

from asnn_goose.data.corpora import DEFAULT_TRAIN
from asnn_goose.model import Teacher, TeacherError
from asnn_goose.teachers.author import teacher_with_words
from asnn_goose.teachers.text_recipe import TextTraining, text_plan, texts_of
from asnn_goose.teachers.trainable_teacher import TrainableTeacher
from asnn_goose.train.plan import RunPlan

TUNE = TextTraining(tokens=60_000, seed=0, window=512, batch=1, lr=5e-5, texts=DEFAULT_TRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What a tuned teacher is made of.

    model      the teacher it begins with: a built-in name, a folder or a Hub id
    training   text and rate; seed, texts, window and batch give the windows of a recipe's stage
    precision  "fp32", or "bf16" for autocast around the forward pass
    threads    of torch on a CPU; None leaves torch's own choice
    """

    model: str
    training: TextTraining = TUNE
    precision: str = "fp32"
    threads: int | None = None


def tuning_plan(tuning: Tuning, *, tell: Callable[[str], None]) -> RunPlan:
    """A run of one stage that trains all weights of a teacher by cross-entropy.

    No weight decay, as in a recipe that sets none. Raises TeacherError or what data and sources
    raise.
    """
    training = tuning.training
    accelerator = Accelerator(mixed_precision="no")
    with accelerator.main_process_first():
        teacher, tokenizer = teacher_with_words(tuning.model, tell=tell)
        # Before the texts are tokenised, which takes longer than to say no.
        check_positions(teacher, training.window)
        texts = () if training.examples else training.texts
        shards = texts_of(texts, tokenizer, tell=tell) if texts else []
    told = {"model": tuning.model, **asdict(training), "precision": tuning.precision}
    return text_plan(
        training,
        model=TrainableTeacher(teacher.model, words=teacher.words),
        tokenizer=tokenizer,
        shards=shards,
        train={"precision": tuning.precision, "threads": tuning.threads},
        identity={name: json.dumps(value) for name, value in told.items()},
        record={"tuned_teacher": told},
        at=accelerator,
        tell=tell,
    )


def check_positions(teacher: Teacher, window: int) -> None:
    """Raise TeacherError where a window is longer than the teacher's learned positions reach."""
    table = teacher.positions
    if table is not None and window > table.num_embeddings:
        raise TeacherError(
            f"window = {window}: teacher {teacher.name!r} has learned positions for "
            f"{table.num_embeddings}; give at most that many"
        )
