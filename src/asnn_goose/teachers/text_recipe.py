"""Training of a teacher on text: a recipe of one stage, whose student is the teacher itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import tomli_w
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, find_corpus
from asnn_goose.data.example_sets import check_example_set
from asnn_goose.data.shards import Shard
from asnn_goose.data.training_texts import training_shards
from asnn_goose.recipe.build import example_planner, run_settings
from asnn_goose.recipe.load import check_recipe
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.stage_plans import StagePlanner
from asnn_goose.teachers.trainable_teacher import TrainableTeacher, optimiser_groups
from asnn_goose.train.plan import RunPlan

WARMUP_SHARE = 0.05
FLOOR = 0.1
LOOKS, HELD_OUT = 4, 16_000
"""How often held-out answers are looked at in training on examples, and tokens of theirs."""

CHUNK = 1024
"""Tokens whose logits are there at a time; a teacher's training holds no second model's."""


def texts_of(
    names: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, tell: Callable[[str], None]
) -> list[Shard]:
    """The texts a teacher reads, as a student's recipe reads them that sets nothing else."""
    against, required = DEFAULT_OUT_OF_DOMAIN, False
    return training_shards(names, tokenizer, against=against, required=required, tell=tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTraining:
    """How a teacher is trained on text.

    tokens        training tokens; the last step may go over
    seed          of the data order
    window, batch windows of a step
    lr            peak rate; 5 % warm-up, then a cosine down to a tenth
    texts         corpora whose training splits it reads, or files
    weights       share of every text in the windows; by their lengths where it is empty
    examples      sets of examples that it reads instead, of which it learns the answers

    Raises ValueError for a rate that trains nothing or tokens for less than two steps, DataError
    for a text that there cannot be.
    """

    tokens: int
    seed: int
    window: int
    batch: int
    lr: float
    texts: tuple[str, ...]
    weights: tuple[float, ...] = ()
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr = {self.lr}: must be above 0")
        if self.steps < 2:
            raise ValueError(
                f"tokens = {self.tokens}: must be above {self.window * self.batch}, one step's"
            )
        for name in self.texts:
            find_corpus(name)
        for name in self.examples:
            check_example_set(name)

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return math.ceil(self.tokens / (self.window * self.batch))

    def recipe(self, *, model: str, train: Mapping[str, Any], processes: int) -> Recipe:
        """The recipe that says the same; `train` is its table of that name."""
        stage = {
            "kind": "pretrain",
            "train": "all",
            "tokens": self.tokens,
            "window": self.window,
            "batch": self.batch,
            "lr": self.lr,
            "warmup": int(WARMUP_SHARE * math.ceil(self.steps / processes)),
            "floor": FLOOR,
            "losses": [{"name": "ce"}],
            "chunk": CHUNK,
            "seed": self.seed,
        }
        if self.examples:
            stage |= {"kind": "sft", "examples": list(self.examples), "end": self._looks()}
        raw = {
            "name": "teacher",
            "seed": self.seed,
            "teacher": [{"model": model}],
            "data": {"train": list(self.texts), "weights": list(self.weights)},
            "train": {name: value for name, value in train.items() if value is not None},
            "stage": [stage],
        }
        return check_recipe(raw, source="training of a teacher")

    def _looks(self) -> dict[str, Any]:
        """Held-out answers are looked at before, four times on the way, and end nothing."""
        every = max(1, self.steps // LOOKS)
        return {"by": "validation", "every": every, "patience": self.steps, "tokens": HELD_OUT}


def text_plan(
    training: TextTraining,
    *,
    model: TrainableTeacher,
    tokenizer: PreTrainedTokenizerBase,
    shards: Sequence[Shard],
    train: Mapping[str, Any],
    identity: Mapping[str, str],
    record: Mapping[str, Any],
    at: Accelerator,
    tell: Callable[[str], None],
) -> RunPlan:
    """A run that trains the whole model by cross-entropy on the shards, or on the examples.

    train     what the recipe's table of that name would set
    identity  what a resumed run must share, to which the texts are added
    record    kept in the run folder as recipe.toml
    """
    recipe = training.recipe(model="itself", train=train, processes=at.num_processes)
    examples = example_planner(recipe, tokenizer, accelerator=at, tell=tell)
    planner = StagePlanner(
        recipe=recipe,
        student=model,
        shards=list(shards),
        held_out=[],
        accelerator=at,
        examples=examples,
    )
    # The model stands in for a teacher, which this stage never asks.
    (stage,) = planner.plans(0, model)
    return RunPlan(
        student=model,
        tokenizer=tokenizer,
        stages=(replace(stage, trained=lambda: optimiser_groups(model)),),
        settings=run_settings(recipe),
        identity=dict(identity)
        | {f"text {i}": json.dumps(asdict(s.meta)) for i, s in enumerate(shards)}
        | dict(examples.identity() if examples else ()),
        accelerator=at,
        recipe_toml=tomli_w.dumps(record),
    )
