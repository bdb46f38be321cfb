"""The teachers of a recipe, and which of them a stage learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.model import Teacher, load_teacher
from asnn_goose.model.assistant import Assistant, load_assistant, outline_assistant
from asnn_goose.model.teacher import outline_teacher
from asnn_goose.model.teacher_mixture import MixedTeacher, TeacherMixture
from asnn_goose.model.vocabularies.foreign_teacher import (
    ForeignTeacher,
    SeparateTeachers,
    same_words,
)
from asnn_goose.places import is_student
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.recipe.teacher_caches import cached
from asnn_goose.train.stages.stage import Tracing

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def used_teachers(recipe: Recipe) -> list[int]:
    """Numbers of the first teacher, whose tokenizer counts, and of those a stage learns from."""
    stages = range(len(recipe.stage))
    return sorted({0}.union(*(recipe.teacher_numbers(index) for index in stages)))


def load_teachers(recipe: Recipe, *, tell: Callable[[str], None]) -> dict[int, Teacher | Assistant]:
    """The first teacher and those that a stage learns from, by their number in the recipe."""
    found: dict[int, Teacher | Assistant] = {}
    for number in used_teachers(recipe):
        table = recipe.teacher[number]
        tell(f"loading the teacher {table.model}")
        load = load_assistant if is_student(table.model) else load_teacher
        found[number] = load(table.model, dtype=DTYPES[table.dtype])
    return found


def outline_teacher_of(recipe: Recipe) -> Teacher | Assistant:
    """The shapes of the first teacher, without its weights."""
    table = recipe.teacher[0]
    if is_student(table.model):
        return outline_assistant(table.model)
    return outline_teacher(table.model, dtype=DTYPES[table.dtype])


def with_caches(
    recipe: Recipe, teachers: Mapping[int, Teacher | Assistant], *, tell: Callable[[str], None]
) -> dict[int, Teacher | Assistant | CachedTeacher]:
    """The loaded teachers, each behind its cache where it has one."""
    tables = {number: recipe.teacher[number].cache for number in teachers}
    return {
        number: teacher if (table := tables[number]) is None else cached(teacher, table, tell=tell)
        for number, teacher in teachers.items()
    }


def stage_teacher(
    recipe: Recipe, index: int, teachers: Mapping[int, Teacher | Assistant | CachedTeacher]
) -> Tracing:
    """What stage `index` learns from: one of the loaded teachers, or several as one.

    A teacher whose tokenizer is not that of the first one, which is the student's, reads the text
    with its own. Raises RecipeError where the stage compares words that such a teacher does not
    have, TeacherError where a tokenizer cannot be aligned.
    """
    stage, tokenizer = recipe.stage[index], _words_of(teachers[0])
    chosen = [teachers[number] for number in recipe.teacher_numbers(index)]
    others = [one for one in chosen if not same_words(_words_of(one), tokenizer)]
    if others and tokenizer is not None:
        _check_foreign(stage, others[0].name, place=f"stage.{index}")
        if any(isinstance(one, CachedTeacher) for one in others):
            raise RecipeError(
                f"teacher {others[0].name!r} has another tokenizer than the student, by whose"
                " tokens a cache goes: leave its cache out"
            )
        heard = [cast(MixedTeacher, one) for one in chosen]
        if len(chosen) > 1:
            return SeparateTeachers(heard, tokenizer, weights=stage.mix)
        return ForeignTeacher(heard[0], tokenizer)
    if len(chosen) == 1:
        return chosen[0]
    mixed = [cast(MixedTeacher, one) for one in chosen]  # the schema lets none be cached
    return TeacherMixture(mixed, weights=stage.mix)


def _words_of(teacher: Teacher | Assistant | CachedTeacher) -> PreTrainedTokenizerBase | None:
    live = teacher.teacher if isinstance(teacher, CachedTeacher) else teacher
    return cast(Teacher | Assistant, live).tokenizer


def _check_foreign(stage: StageTable, name: str, *, place: str) -> None:
    """Raise RecipeError for what a stage asks of a teacher with other words than the student's."""
    why = f"teacher {name!r} has another tokenizer than the first teacher, whose the student's is"
    if compared := stage.objective().words_compared:
        raise RecipeError(
            f"{place}.losses: {why}; {', '.join(compared)} compares its words, or its inside, with"
            " the student's: take uld, span_likelihood or ce"
        )
    if stage.curriculum is not None:
        raise RecipeError(f"{place}.curriculum: {why}; it ranks by KL: leave it out")
    if stage.starts().any:
        raise RecipeError(
            f"{place}: {why}; balance, calibrate and least_squares need its residual stream"
        )
