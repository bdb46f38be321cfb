"""Training of a teacher on text: a run of one stage that the ordinary loop carries out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import tomli_w
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, find_corpus
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.data.shards import Shard
from asnn_goose.data.training_texts import training_shards
from asnn_goose.losses import VOCAB_LOSSES, Objective, Term
from asnn_goose.teachers.trainable_teacher import TrainableTeacher, optimiser_groups
from asnn_goose.train.plan import RunPlan, RunSettings, StagePlan
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.stages.pretrain import Pretrain

WARMUP_SHARE = 0.05
FLOOR = 0.1


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

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr = {self.lr}: must be above 0")
        if self.steps < 2:
            raise ValueError(
                f"tokens = {self.tokens}: must be above {self.window * self.batch}, one step's"
            )
        for name in self.texts:
            find_corpus(name)

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return math.ceil(self.tokens / (self.window * self.batch))


def text_plan(
    training: TextTraining,
    *,
    model: TrainableTeacher,
    tokenizer: PreTrainedTokenizerBase,
    shards: Sequence[Shard],
    settings: RunSettings,
    identity: Mapping[str, str],
    record: Mapping[str, Any],
    at: Accelerator,
) -> RunPlan:
    """A run that trains the whole model by cross-entropy on the shards.

    `record` is kept in the run folder as recipe.toml; the texts join the `identity` that a
    resumed run must share.
    """
    return RunPlan(
        student=model,
        tokenizer=tokenizer,
        stages=(_stage(training, model, shards, at),),
        settings=settings,
        identity=dict(identity)
        | {f"text {i}": json.dumps(asdict(s.meta)) for i, s in enumerate(shards)},
        accelerator=at,
        recipe_toml=tomli_w.dumps(record),
    )


def _loader(
    training: TextTraining, shards: Sequence[Shard], at: Accelerator
) -> WindowLoader | MixtureLoader:
    reads = partial(
        partial(MixtureLoader, weights=training.weights) if training.weights else WindowLoader,
        window=training.window,
        batch=training.batch,
        seed=training.seed,
    )
    return reads(shards, rank=at.process_index, world=at.num_processes)


def _stage(
    training: TextTraining, model: TrainableTeacher, shards: Sequence[Shard], at: Accelerator
) -> StagePlan:
    steps = math.ceil(training.steps / at.num_processes)
    return StagePlan(
        name="pretrain",
        # The model stands in for a teacher, which this stage never asks.
        stage=Pretrain(
            student=model,
            teacher=model,
            objective=Objective([Term("ce", 1.0, VOCAB_LOSSES["ce"]())], chunk=1024),
        ),
        loader=_loader(training, shards, at),
        trained=lambda: optimiser_groups(model),
        accumulate=1,
        tokens_per_step=training.window * training.batch * at.num_processes,
        lr=training.lr,
        lr_scale={},
        schedule=Schedule(
            shape="cosine", steps=steps, warmup=int(WARMUP_SHARE * steps), floor=FLOOR
        ),
        seed=training.seed,
    )
