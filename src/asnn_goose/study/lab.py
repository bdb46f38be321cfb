"""How the lab teacher is trained: from scratch, on the training splits of the built-in corpora."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from asnn_goose.data.corpora import DEFAULT_TRAIN, documents, find_corpus
from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.own_text import content_hash
from asnn_goose.data.shards import Shard, shard
from asnn_goose.losses import VOCAB_LOSSES, Objective, Term
from asnn_goose.model.lab_teacher import (
    LabTeacher,
    lab_config,
    optimiser_groups,
    train_tokenizer,
)
from asnn_goose.sources import cache_dir, new_folder
from asnn_goose.train.plan import RunPlan, RunSettings, StagePlan
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.stages.pretrain import Pretrain

WARMUP_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """What the lab teacher depends on.

    tokens        training tokens; the last step may go over
    seed          of weights and data order
    window, batch windows of a step
    lr            peak rate; 5 % warm-up, then a cosine down to a tenth
    texts         corpora whose training splits it reads, or files
    """

    tokens: int = 4_000_000
    seed: int = 0
    window: int = 512
    batch: int = 8
    lr: float = 2e-3
    texts: tuple[str, ...] = DEFAULT_TRAIN

    @property
    def steps(self) -> int:
        """Optimiser steps. Raises ValueError below two."""
        steps = math.ceil(self.tokens / (self.window * self.batch))
        if steps < 2:
            raise ValueError(
                f"tokens = {self.tokens}: must be above {self.window * self.batch}, one step's"
            )
        return steps


def lab_plan(
    settings: LabSettings, *, config: LlamaConfig | None = None, tell: Callable[[str], None]
) -> RunPlan:
    """A run of one stage, `pretrain`, that the ordinary loop carries out.

    `config` is another shape than `lab_config()`. Its vocabulary decides the tokenizer's.
    """
    config = config or lab_config()
    accelerator = Accelerator(mixed_precision="no")
    with accelerator.main_process_first():
        tokenizer = lab_tokenizer(settings.texts, vocabulary=config.vocab_size, tell=tell)
        shards = [_shard(name, tokenizer, tell) for name in settings.texts]
    set_seed(settings.seed)
    model = LabTeacher(config)
    told = {"lab_teacher": asdict(settings) | {"model": _shape(config)}}
    return RunPlan(
        student=model,
        tokenizer=tokenizer,
        stages=(_stage(settings, model, shards, accelerator),),
        settings=RunSettings(weight_decay=0.1, checkpoint_minutes=3.0),
        identity={"lab teacher": json.dumps(told)}
        | {f"text {i}": json.dumps(asdict(s.meta)) for i, s in enumerate(shards)},
        accelerator=accelerator,
        recipe_toml=tomli_w.dumps(told),
    )


def _shape(config: LlamaConfig) -> dict[str, int]:
    return {
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "vocabulary": config.vocab_size,
    }


def _stage(
    settings: LabSettings, model: LabTeacher, shards: Sequence[Shard], at: Accelerator
) -> StagePlan:
    steps = math.ceil(settings.steps / at.num_processes)
    return StagePlan(
        name="pretrain",
        # The model stands in for a teacher, which this stage never asks.
        stage=Pretrain(
            student=model,
            teacher=model,
            objective=Objective([Term("ce", 1.0, VOCAB_LOSSES["ce"]())], chunk=1024),
        ),
        loader=WindowLoader(
            shards,
            window=settings.window,
            batch=settings.batch,
            seed=settings.seed,
            rank=at.process_index,
            world=at.num_processes,
        ),
        trained=lambda: optimiser_groups(model),
        accumulate=1,
        tokens_per_step=settings.window * settings.batch * at.num_processes,
        lr=settings.lr,
        lr_scale={},
        schedule=Schedule(shape="cosine", steps=steps, warmup=int(WARMUP_SHARE * steps), floor=0.1),
        seed=settings.seed,
    )


def lab_tokenizer(
    texts: Sequence[str], *, vocabulary: int, tell: Callable[[str], None]
) -> PreTrainedTokenizerBase:
    """The tokenizer for these texts, trained on first use and kept in the cache."""
    key = json.dumps([vocabulary, *([name, _version(name)] for name in texts)])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = cache_dir() / "lab-tokenizer" / digest
    if not folder.is_dir():
        tell(f"training a tokenizer of {vocabulary} entries on {', '.join(texts)}")
        read = (document.text for name in texts for document in documents(name, "train"))
        tokenizer = train_tokenizer(read, vocabulary=vocabulary)
        with new_folder(folder) as fresh:
            tokenizer.save_pretrained(fresh)
    loaded: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    return loaded


def _version(name: str) -> str:
    """What tells one state of a text from another: a package's version, or a file's content."""
    corpus = find_corpus(name)
    return corpus.version if corpus else content_hash(Path(name).expanduser())


def _shard(name: str, tokenizer: PreTrainedTokenizerBase, tell: Callable[[str], None]) -> Shard:
    tell(f"reading {name}")
    return shard(name, "train", tokenizer)
