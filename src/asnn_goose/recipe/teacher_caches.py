"""Whether a stage finds in a teacher's cache what it needs, and the cached teacher itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from asnn_goose.data.shards import tokenizer_fingerprint
from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.model import Teacher
from asnn_goose.model.assistant import Assistant
from asnn_goose.model.fingerprint import fingerprint
from asnn_goose.recipe.run_tables import CacheTable, TeacherTable
from asnn_goose.train.stages import STAGES

if TYPE_CHECKING:
    from asnn_goose.recipe.stage_schema import StageTable


def check_cached(stage: StageTable, teacher: TeacherTable) -> None:
    """Raise ValueError where a stage needs more of a cached teacher than its cache keeps."""
    name = teacher.name or teacher.model
    if stage.teachers:
        raise ValueError(
            f"several teachers are mixed, of which {name!r} is cached: a mixture needs "
            "all their words; leave the cache out"
        )
    if stage.kind == "gkd":
        raise ValueError(
            f"the student writes what the teacher {name!r} reads, and it is never the same again; "
            "leave the cache out"
        )
    assert teacher.cache is not None
    settings = teacher.cache.settings()
    for table, _share in stage.phases():
        needs = cached_needs(table)
        settings.check(needs, teacher=name)
        if "vocab" in needs:
            table.objective().check_top(settings.temperatures, teacher=name)


def cached_needs(stage: StageTable) -> frozenset[str]:
    """What a stage asks of its teacher, with all that its losses would take where it is there."""
    objective = stage.objective()
    needs = objective.teacher_needs | STAGES[stage.kind].drives
    return needs | objective.teacher_takes


def cached(
    teacher: Teacher | Assistant, table: CacheTable, *, tell: Callable[[str], None]
) -> CachedTeacher:
    """A teacher behind its cache."""
    words = "" if teacher.tokenizer is None else tokenizer_fingerprint(teacher.tokenizer)
    head_VD = teacher.model.get_output_embeddings().weight
    return CachedTeacher(
        teacher,
        settings=table.settings(),
        identity={"teacher": fingerprint(teacher.model), "tokenizer": words},
        vocabulary=int(head_VD.shape[0]),
        tell=tell,
    )
