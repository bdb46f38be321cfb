"""What a run will cost before it starts: parameters, memory, disk, time. No promises."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from asnn_goose.model import GooseForCausalLM, Teacher
from asnn_goose.model.assistant import Assistant
from asnn_goose.recipe.build import example_planner, student_config_of
from asnn_goose.recipe.cache_estimate import CacheEstimate, cache_estimates
from asnn_goose.recipe.fit import check_student
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.recipe.sizes import Sizes, count, memory, products_per_token
from asnn_goose.recipe.teachers import load_teachers
from asnn_goose.shape.student import matrices

MATRIX_SHARE = 0.7
"""Share of the speed of bare matrix products that a training step reaches."""

BASE_BYTES = 500_000_000
"""Interpreter, libraries and their buffers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEstimate:
    """One stage: steps, tokens, parameters that train, seconds, bytes of peak memory and disk."""

    name: str
    steps: int
    tokens: int
    trained: int
    seconds: float
    memory_bytes: int
    checkpoint_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A whole run on one process of this machine.

    teacher, student   parameters, tied ones once
    matrix_flops       measured speed of matrix products of the student's shapes, flop/s
    keep               checkpoints that stay on the disk while the run is under way
    caches             what is kept of the teachers
    examples           what stages that read examples find, and what their windows cut off
    """

    teacher: int
    student: int
    matrix_flops: float
    keep: int
    stages: tuple[StageEstimate, ...]
    caches: tuple[CacheEstimate, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Training tokens."""
        return sum(stage.tokens for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Time of training, without loading and evaluation."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def memory_bytes(self) -> int:
        """Peak over the stages."""
        return max(stage.memory_bytes for stage in self.stages)

    @property
    def disk_bytes(self) -> int:
        """Peak over the stages: the checkpoints that stay and the one being written."""
        return (self.keep + 1) * max(stage.checkpoint_bytes for stage in self.stages)


def estimate(recipe: Recipe) -> Estimate:
    """Parameters, memory, disk and time of a run on this machine with the recipe's threads.

    The time is what timed matrix products of the same shapes and precision say, over MATRIX_SHARE;
    the memory is that of CPU training. The teacher is loaded for its shape.
    """
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    teachers = load_teachers(recipe, tell=lambda text: None)
    teacher = teachers[0]
    config = student_config_of(recipe, teacher)
    check_student(recipe, config)
    with torch.device("meta"):
        student = GooseForCausalLM(config)
    dtype = torch.bfloat16 if recipe.train.precision == "bf16" else torch.float32
    tokens = recipe.stage[0].window * recipe.stage[0].batch
    speed = matrix_flops(config.to_dict(), tokens=tokens, dtype=dtype)
    sizes = Sizes(student, teacher)
    return Estimate(
        teacher=count(teacher.model),
        student=count(student),
        matrix_flops=speed,
        keep=recipe.train.keep,
        stages=tuple(
            _stage(recipe, name, table, sizes=sizes, speed=speed)
            for name, table in recipe.trained_stages()
        ),
        caches=tuple(cache_estimates(recipe, teachers, flops=speed * MATRIX_SHARE)),
        examples=tuple(_examples(recipe, teacher)),
    )


def _examples(recipe: Recipe, teacher: Teacher | Assistant) -> list[str]:
    """A line for every stage that reads examples."""
    found: list[str] = []
    if teacher.tokenizer is None:
        return found
    accelerator = Accelerator(mixed_precision="no")
    planner = example_planner(recipe, teacher.tokenizer, accelerator=accelerator, tell=found.append)
    for name, table in recipe.trained_stages():
        if planner is not None and table.examples:
            planner.loader(table, seed=0, split="train", batches=1, name=name)
    return found


def _stage(
    recipe: Recipe, name: str, table: StageTable, *, sizes: Sizes, speed: float
) -> StageEstimate:
    trained = sizes.trained(table)
    tokens = table.steps(1) * table.tokens_per_step(1)
    flops = 2 * products_per_token(table, sizes, again=recipe.train.checkpointing)
    return StageEstimate(
        name=name,
        steps=table.steps(1),
        tokens=tokens,
        trained=trained,
        seconds=tokens * flops / (speed * MATRIX_SHARE),
        memory_bytes=BASE_BYTES + memory(recipe, table, sizes).total,
        checkpoint_bytes=_checkpoint(table, sizes, trained=trained),
    )


def _checkpoint(table: StageTable, sizes: Sizes, *, trained: int) -> int:
    """Bytes of one checkpoint at most: all weights, for earlier stages may have trained others."""
    frozen = 0.0 if table.freeze is None else table.freeze.settings().copies
    moments = table.rule().moments + (table.average is not None) + frozen
    return 4 * count(sizes.student) + round(4 * moments * trained)


def matrix_flops(settings: Mapping[str, Any], *, tokens: int, dtype: torch.dtype) -> float:
    """Speed in flop/s of products of `tokens` rows with the matrices of a student's block."""
    pairs = [
        (torch.randn(tokens, m.columns, dtype=dtype), torch.randn(m.columns, m.rows, dtype=dtype))
        for m in matrices(settings, 0)
    ]
    flops = sum(2 * a.shape[0] * b.shape[0] * b.shape[1] for a, b in pairs)
    best = float("inf")
    for _ in range(4):  # the first one warms up
        start = time.perf_counter()
        for a, b in pairs:
            a @ b
        # The best of a few: whatever else runs can only make it slower.
        best = min(best, time.perf_counter() - start)
    return flops / best
