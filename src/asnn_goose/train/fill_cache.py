"""Caches of teachers filled before a run: the very windows that its stages are going to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asnn_goose.data.pair_batches import PairBatch
from asnn_goose.data.teacher_cache import CachedTeacher
from asnn_goose.trace import Batch
from asnn_goose.train.plan import RunPlan, StagePlan


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Tokens of a stage's windows, and how many of them the teacher had to read."""

    tokens: int
    read: int


def cached_stages(plan: RunPlan) -> list[StagePlan]:
    """The stages that read a cache."""
    return [stage for stage in plan.stages if _cache(stage) is not None]


def tokens_of(plan: StagePlan) -> int:
    """Tokens of the windows that `fill` goes over."""
    return plan.tokens if plan.pool is None else len(plan.pool.places) * plan.pool.window


def fill(plan: StagePlan, *, advance: Callable[[int], None]) -> Filled:
    """Let a stage's teacher read what is not in its cache yet; `advance` hears of all tokens done.

    What is kept stays when this is broken off, and is not read again. The loader stays where it is.
    """
    teacher, tokens, read = _cache(plan), 0, 0
    if teacher is None:
        return Filled(tokens=0, read=0)
    for batch in _batches(plan):
        read += teacher.fill(batch.tokens_BT, plan.stage.asked, window=plan.stage.window(batch))
        tokens += batch.tokens_BT.numel()
        advance(tokens)
    return Filled(tokens=tokens, read=read)


def _cache(plan: StagePlan) -> CachedTeacher | None:
    teacher = plan.stage.teacher
    reads = isinstance(teacher, CachedTeacher) and plan.stage.asked & teacher.settings.holds
    return teacher if isinstance(teacher, CachedTeacher) and reads else None


def _batches(plan: StagePlan) -> Iterator[Batch]:
    """The batches of a stage, each window of a curriculum's pool once."""
    if plan.pool is not None:
        for place in plan.pool.places:
            yield plan.pool.windows.batch_of([place], 0.0)
        return
    start, count = plan.loader.state(), plan.steps * plan.accumulate
    for number in range(count):
        batch = plan.loader.next(number / count)
        yield batch.chosen if isinstance(batch, PairBatch) else batch  # what a teacher reads of it
    plan.loader.restore(start)
