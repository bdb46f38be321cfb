"""How many values a stage multiplies, and how many bytes it holds, from shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from asnn_goose.model import GooseForCausalLM, Teacher
from asnn_goose.model.assistant import Assistant
from asnn_goose.model.parts.groups import trainable
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.shape.student import kept, products
from asnn_goose.train.stages import STAGES

KEPT_BY_BLOCK = 6
"""Values that a block keeps for the backward pass beside its mixer and its MLP (`shape.kept`), per
token, in multiples of the residual width."""

LOGIT_COPIES = 6
"""Arrays (chunk, V) that a vocabulary loss holds at one time."""


def count(model: nn.Module) -> int:
    """Parameters, tied ones once."""
    return sum(p.numel() for p in model.parameters())


def byte_count(model: nn.Module) -> int:
    """Bytes of the parameters, tied ones once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


class Sizes:
    """Numbers of values: what is multiplied per token, and what is held."""

    def __init__(self, student: GooseForCausalLM, teacher: Teacher | Assistant) -> None:
        settings = student.config.to_dict()
        multiplied, held = products(settings), kept(settings)
        self.student = student
        self.mixers = multiplied["mixer"] + multiplied.get("low-rank", 0)
        self.mlps = multiplied["mlp"]
        self.blocks = self.mixers + self.mlps
        self.head = multiplied["head"]
        self.teacher_blocks = count(teacher.layers)
        self.teacher_block_bytes = byte_count(teacher.layers)
        self.teacher_layers = len(teacher.layers)
        self.teacher_bytes = byte_count(teacher.model)
        self.layers: int = settings["num_hidden_layers"]
        self.width: int = settings["hidden_size"]
        self.vocabulary: int = settings["vocab_size"]
        self.mixer_values = held["mixer"]
        self.mlp_values = held["mlp"] + KEPT_BY_BLOCK * self.width
        halves = [half for block in student.blocks for half in (block.mixer, block.mlp)]
        self.half_values = max(map(count, halves))
        self.outside_values = count(student) - sum(map(count, halves))

    def trained(self, table: StageTable) -> int:
        """Parameters of the student that a stage trains."""
        names = trainable(self.student, table.train)
        return sum(p.numel() for name, p in self.student.named_parameters() if name in names)


def products_per_token(table: StageTable, sizes: Sizes, *, again: bool) -> int:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes that one process holds at its peak while it trains a stage, beside its libraries.

    student, teacher  weights
    training          gradients, moments, and what else is kept for every trained value
    activations       what the backward pass needs
    logits            of one chunk, and what a loss makes of them
    """

    student: int
    teacher: int
    training: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.student + self.teacher + self.training + self.activations + self.logits


def memory(recipe: Recipe, table: StageTable, sizes: Sizes) -> Memory:
    """What a stage holds on one device that holds all of it."""
    runs = STAGES[table.kind].runs
    driven = runs != "whole"
    per_layer = sizes.mixer_values + (0 if runs == "mixers" else sizes.mlp_values)
    # A driven block holds the teacher's stream and its own output, of every layer at once.
    stream = 2 * sizes.width if driven else sizes.width
    layers, again = sizes.layers, recipe.train.checkpointing
    values = layers * stream + per_layer if again else layers * (stream + per_layer)
    frozen = 0.0 if table.freeze is None else table.freeze.settings().copies
    copies = table.rule().copies + (table.average is not None) + frozen
    return Memory(
        student=4 * count(sizes.student),
        teacher=sizes.teacher_bytes,
        training=round(copies * 4 * sizes.trained(table)),
        activations=4 * table.window * table.rows * values,
        logits=0 if driven else 4 * LOGIT_COPIES * table.chunk * sizes.vocabulary,
    )
