"""The teachers of a recipe, and which of them a stage learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch

from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.model import Teacher, load_teacher
from asnn_goose.model.assistant import Assistant, load_assistant
from asnn_goose.model.teacher_mixture import MixedTeacher, TeacherMixture
from asnn_goose.places import is_student
from asnn_goose.recipe.schema import Recipe
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

    Raises TeacherError where several do not share a tokenizer.
    """
    numbers = recipe.teacher_numbers(index)
    if len(numbers) == 1:
        return teachers[numbers[0]]
    mixed = [cast(MixedTeacher, teachers[k]) for k in numbers]  # the schema lets none be cached
    return TeacherMixture(mixed, weights=recipe.stage[index].mix)
