"""A run shrunk to seconds: `python tiny_run.py OUT [--resume]` trains it and prints its steps."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.shards import Shard, ShardMeta
from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term, TraceLoss
from asnn_goose.model.convert import convert
from asnn_goose.model.parts.groups import parameter_group, trainable
from asnn_goose.model.teacher import Teacher
from asnn_goose.trace import Batch, Trace
from asnn_goose.train.loop import run
from asnn_goose.train.plan import RunPlan, RunSettings, StagePlan
from asnn_goose.train.progress import StepInfo
from asnn_goose.train.run_errors import TrainError
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.stages import STAGES, Stage

VOCAB, WIDTH, WINDOW, BATCH = 97, 64, 16, 2


class Watcher:
    """Keeps what it is told, and prints it when asked to."""

    def __init__(self, *, aloud: bool = False) -> None:
        self.steps: list[StepInfo] = []
        self.messages: list[str] = []
        self.aloud = aloud

    def on_step(self, info: StepInfo) -> None:
        self.steps.append(info)
        if self.aloud:
            print(f"step {info.run_step}", flush=True)

    def on_message(self, text: str) -> None:
        self.messages.append(text)
        if self.aloud:
            print(text, flush=True)


class NoTokenizer:
    """Stands where a tokenizer is saved."""

    def save_pretrained(self, save_directory: Path) -> None:
        (save_directory / "tokenizer.json").write_text("{}")


class Noise(TraceLoss):
    """A loss with a parameter of its own that draws from all three global generators."""

    needs = frozenset({"mixer_out"})

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        drawn = torch.rand(()) + random.random() + np.random.rand()
        return student.mixer_out[0].square().mean() * drawn * self.scale.square()


def teacher() -> Teacher:
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Teacher(LlamaForCausalLM(config), None, name="tiny")


def shard(tokens: int = 2000) -> Shard:
    ids = np.random.default_rng(0).integers(0, VOCAB, tokens).astype(np.uint16)
    meta = ShardMeta(
        name="noise",
        version="0",
        split="train",
        tokenizer="none",
        separator=0,
        dtype="uint16",
        documents=1,
        tokens=tokens,
        bytes=tokens,
    )
    return Shard(tokens_N=ids, starts=np.zeros(1, np.int64), meta=meta)


def stage_plan(
    stage: Stage,
    *,
    name: str,
    train: str,
    steps: int,
    window: int,
    accumulate: int,
    accelerator: Accelerator,
) -> StagePlan:
    names = trainable(stage.student, train)
    world = accelerator.num_processes
    return StagePlan(
        name=name,
        stage=stage,
        loader=WindowLoader(
            [shard()],
            window=window,
            batch=BATCH,
            seed=7,
            rank=accelerator.process_index,
            world=world,
        ),
        trained=lambda: {n: parameter_group(n) for n in names},
        accumulate=accumulate,
        tokens_per_step=window * BATCH * accumulate * world,
        lr=1e-2,
        lr_scale={"vector": 2.0},
        schedule=Schedule(shape="cosine", steps=steps, warmup=2, floor=0.1),
        seed=11,
    )


def plan(
    *,
    steps: tuple[int, int] = (6, 6),
    accumulate: int = 2,
    noise: bool = True,
    align: str = "attention_output",
    feature: bool = False,
    again: bool = False,
    **settings: Any,
) -> RunPlan:
    """Align, then distill with a longer window."""
    torch.manual_seed(3)
    accelerator = Accelerator(mixed_precision="no")
    master = teacher()
    student = convert(master)
    if again:  # activations are computed again for the backward pass
        student.gradient_checkpointing_enable({"use_reentrant": False})
    terms = [Term(align, 1.0, LOSSES[align]())]
    aligned = Objective([*terms, Term("noise", 0.1, Noise())] if noise else terms)
    distilled = Objective(
        [Term("kl", 1.0, VOCAB_LOSSES["kl"]()), Term("ce", 0.1, VOCAB_LOSSES["ce"]())], chunk=24
    )
    if feature:  # gates that stand still from the first step on
        gated = LOSSES["hidden"](layer_map="learned", frozen_after=0.0)
        distilled = Objective([Term("hidden", 1.0, gated)], chunk=24)
    stages = (
        ("align", aligned, "mixers", WINDOW),
        ("distill", distilled, "all", 2 * WINDOW),
    )
    return RunPlan(
        student=student,
        tokenizer=NoTokenizer(),
        stages=tuple(
            stage_plan(
                STAGES[kind](student=student, teacher=master, objective=objective),
                name=kind,
                train=train,
                steps=count,
                window=window,
                accumulate=accumulate,
                accelerator=accelerator,
            )
            for (kind, objective, train, window), count in zip(stages, steps, strict=True)
        ),
        settings=RunSettings(**{"threads": 1, "checkpoint_minutes": 0.0, **settings}),
        identity={"seed": "3", "stage.0.lr": "0.01"},
        accelerator=accelerator,
        recipe_toml='name = "tiny"\n',
    )


def train(out: Path, *, resume: bool = False, **settings: Any) -> Watcher:
    """Carry out a tiny run; returns what its watcher saw."""
    watcher = Watcher()
    run(plan(**settings), out=out, resume=resume, progress=watcher)
    return watcher


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    whole = plan()
    try:
        run(whole, out=arguments.out, resume=arguments.resume, progress=Watcher(aloud=True))
    except TrainError as error:
        print(error, file=sys.stderr)
        return int(getattr(error, "exit_code", 2))
    finally:
        whole.accelerator.end_training()
    return 0


if __name__ == "__main__":
    sys.exit(main())
