"""What a run will cost before it starts: parameters, memory, disk, time. No promises."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from asnn_goose.model import GooseForCausalLM, Teacher
from asnn_goose.model.assistant import Assistant
from asnn_goose.model.parts.groups import trainable
from asnn_goose.recipe.build import example_planner, student_config_of
from asnn_goose.recipe.cache_estimate import CacheEstimate, cache_estimates
from asnn_goose.recipe.fit import check_student
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.recipe.teachers import load_teachers
from asnn_goose.shape.student import kept, matrices, products
from asnn_goose.train.stages import STAGES

MATRIX_SHARE = 0.7
"""Share of the speed of bare matrix products that a training step reaches."""

BASE_BYTES = 500_000_000
"""Interpreter, libraries and their buffers."""

KEPT_BY_BLOCK = 6
"""Values that a block keeps for the backward pass beside its mixer and its MLP (`shape.kept`), per
token, in multiples of the residual width."""

LOGIT_COPIES = 6
"""Arrays (chunk, V) that a vocabulary loss holds at one time."""


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
    sizes = _Sizes(student, teacher)
    return Estimate(
        teacher=_count(teacher.model),
        student=_count(student),
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


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


class _Sizes:
    """Numbers of values: what is multiplied per token, and what is held."""

    def __init__(self, student: GooseForCausalLM, teacher: Teacher | Assistant) -> None:
        settings = student.config.to_dict()
        multiplied, held = products(settings), kept(settings)
        self.student = student
        self.mixers = multiplied["mixer"]
        self.mlps = multiplied["mlp"]
        self.blocks = multiplied["mixer"] + multiplied["mlp"]
        self.head = multiplied["head"]
        self.teacher_blocks: int = sum(p.numel() for p in teacher.layers.parameters())
        self.teacher_bytes: int = sum(
            p.numel() * p.element_size() for p in teacher.model.parameters()
        )
        self.layers: int = settings["num_hidden_layers"]
        self.width: int = settings["hidden_size"]
        self.vocabulary: int = settings["vocab_size"]
        self.mixer_values = held["mixer"]
        self.mlp_values = held["mlp"] + KEPT_BY_BLOCK * self.width


def _stage(
    recipe: Recipe, name: str, table: StageTable, *, sizes: _Sizes, speed: float
) -> StageEstimate:
    names = trainable(sizes.student, table.train)
    trained = sum(p.numel() for name, p in sizes.student.named_parameters() if name in names)
    tokens = table.steps(1) * table.tokens_per_step(1)
    again = recipe.train.checkpointing
    flops = 2 * _products(table, sizes, again=again)
    return StageEstimate(
        name=name,
        steps=table.steps(1),
        tokens=tokens,
        trained=trained,
        seconds=tokens * flops / (speed * MATRIX_SHARE),
        memory_bytes=_memory(table, sizes, trained=trained, again=again),
        checkpoint_bytes=_checkpoint(table, sizes, trained=trained),
    )


def _products(table: StageTable, sizes: _Sizes, *, again: bool) -> int:
    """Multiply-adds per token: forward once, backward twice, blocks once more if recomputed."""
    more = table.rule().extra_passes
    passes = (4 if again else 3) + more
    objective = table.objective()
    teacher = sizes.teacher_blocks if objective.teacher_needs else 0
    runs = STAGES[table.kind].runs
    if runs != "whole":
        return teacher + passes * (sizes.mixers if runs == "mixers" else sizes.blocks)
    heads = (3 + more) * ("vocab" in objective.needs) + ("vocab" in objective.teacher_needs)
    drawn = 0 if table.samples is None else math.ceil(table.samples.share)
    spiking = (table.time_steps or 0) * sizes.mlps
    blocks = (passes + drawn) * sizes.blocks
    return teacher + blocks + spiking + (heads + drawn) * sizes.head


def _memory(table: StageTable, sizes: _Sizes, *, trained: int, again: bool) -> int:
    """Peak bytes: weights, gradients and moments, what backward needs, one chunk of logits."""
    weights = sizes.teacher_bytes + 4 * _count(sizes.student)
    training = (table.rule().copies + (table.average is not None)) * 4 * trained
    runs = STAGES[table.kind].runs
    driven = runs != "whole"
    per_layer = sizes.mixer_values + (0 if runs == "mixers" else sizes.mlp_values)
    # A driven block holds the teacher's stream and its own output, of every layer at once.
    kept = 2 * sizes.width if driven else sizes.width
    values = sizes.layers * kept + per_layer if again else sizes.layers * (kept + per_layer)
    activations = 4 * table.window * table.rows * values
    logits = 0 if driven else 4 * LOGIT_COPIES * table.chunk * sizes.vocabulary
    return BASE_BYTES + weights + training + activations + logits


def _checkpoint(table: StageTable, sizes: _Sizes, *, trained: int) -> int:
    """Bytes of one checkpoint at most: all weights, for earlier stages may have trained others."""
    moments = table.rule().moments + (table.average is not None)
    return 4 * (_count(sizes.student) + moments * trained)


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
