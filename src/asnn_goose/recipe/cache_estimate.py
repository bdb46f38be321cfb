"""How large the caches of a recipe's teachers become, and what time they save."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.model import Teacher
from asnn_goose.model.assistant import Assistant
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.stage_schema import StageTable
from asnn_goose.recipe.teacher_caches import cached, cached_needs


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEstimate:
    """What one teacher's cache means to a run.

    tokens       that the run reads from it, each time that a stage reads them
    token_bytes  of everything that is kept of one token
    most_bytes   what the run's windows take in all, were none of them there; stages that read the
                 same windows count once
    there_bytes  what is there now, whoever wrote it
    saved_s      the teacher's time for all the tokens, were all of them there
    """

    teacher: str
    tokens: int
    token_bytes: int
    most_bytes: int
    there_bytes: int
    saved_s: float


def cache_estimates(
    recipe: Recipe, teachers: Mapping[int, Teacher | Assistant], *, flops: float
) -> Iterator[CacheEstimate]:
    """One for every cached teacher that a stage reads from its cache; `flops` a second."""
    for number, teacher in teachers.items():
        table = recipe.teacher[number].cache
        if table is None:
            continue
        cache = cached(teacher, table, tell=lambda text: None)
        stages = [
            stage
            for index, whole in enumerate(recipe.stage)
            for stage, _share in whole.phases()
            if recipe.teacher_numbers(index) == (number,)
            and stage.kind != "pretrain"
            and cached_needs(stage) & cache.settings.holds
        ]
        if stages:
            yield _estimate(cache, teacher, stages, flops=flops)


def _estimate(
    cache: CachedTeacher, teacher: Teacher | Assistant, stages: list[StageTable], *, flops: float
) -> CacheEstimate:
    most: dict[tuple[str, int, int], int] = {}
    seconds = 0.0
    for stage in stages:
        needs, tokens = cached_needs(stage), _tokens(stage)
        seconds += tokens * 2 * _products(teacher, head="vocab" in needs) / flops
        for need in needs:
            windows = (need, stage.window, stage.seed or 0)
            most[windows] = max(most.get(windows, 0), math.ceil(tokens / (stage.epochs or 1)))
    kept = {need for need, _window, _seed in most}
    sizes = {need: cache.token_bytes(need, layers=len(teacher.layers)) for need in kept}
    return CacheEstimate(
        teacher=cache.name,
        tokens=sum(map(_tokens, stages)),
        token_bytes=sum(sizes.values()),
        most_bytes=sum(tokens * sizes[need] for (need, _, _), tokens in most.items()),
        there_bytes=sum(cache.kept(need).size for need in kept),
        saved_s=seconds,
    )


def _tokens(stage: StageTable) -> int:
    return stage.steps(1) * stage.tokens_per_step(1)


def _products(teacher: Teacher | Assistant, *, head: bool) -> int:
    """Multiply-adds of the teacher for one token."""
    blocks = sum(p.numel() for p in teacher.layers.parameters())
    return blocks + head * int(teacher.model.get_output_embeddings().weight.numel())
