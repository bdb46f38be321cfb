"""From a checked recipe to the objects that a run is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.shards import Shard, shard
from asnn_goose.model import (
    GooseConfig,
    GooseForCausalLM,
    Teacher,
    convert,
    load_teacher,
    student_config,
)
from asnn_goose.model.assistant import (
    Assistant,
    continued,
    is_student,
    load_assistant,
    load_student,
    student_place,
)
from asnn_goose.model.goose.groups import parameter_group, trainable
from asnn_goose.recipe.errors import RecipeError
from asnn_goose.recipe.schema import Recipe, StageTable, StudentTable, TrainTable
from asnn_goose.train.plan import RunPlan, RunSettings, StagePlan
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.stages import STAGES

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

FREE = (
    "name",
    "data.out_of_domain",
    "eval.",
    "log.",
    "train.threads",
    "train.checkpoint_minutes",
    "train.keep",
)
"""Beginnings of settings that may change when a run is resumed: they do not touch the weights."""


def build_run(recipe: Recipe, *, tell: Callable[[str], None]) -> RunPlan:
    """Load the teacher, convert it, tokenise the texts and put the stages together.

    `tell` is called with a sentence before each of these. Raises RecipeError where teacher,
    student and recipe do not fit, and what data, model and sources raise.
    """
    accelerator = Accelerator(mixed_precision="no")
    with accelerator.main_process_first():
        teachers = load_teachers(recipe, tell=tell)
    tokenizer = teachers[0].tokenizer
    if tokenizer is None:
        raise RecipeError(f"teacher {teachers[0].name} comes without a tokenizer: add its files")
    set_seed(recipe.seed)
    student = build_student(recipe, teachers[0])
    for teacher in teachers.values():
        teacher.model.to(accelerator.device)
    with accelerator.main_process_first():
        shards = [_shard(name, tokenizer, tell) for name in recipe.data.train]
    return RunPlan(
        student=student,
        tokenizer=tokenizer,
        stages=tuple(
            _stage(
                recipe,
                index,
                student=student,
                teacher=teachers[recipe.teacher_index(index)],
                shards=shards,
                at=accelerator,
            )
            for index in range(len(recipe.stage))
        ),
        settings=_settings(recipe),
        identity=identity(recipe, shards),
        accelerator=accelerator,
        recipe_toml=recipe.to_toml(),
    )


def load_teachers(recipe: Recipe, *, tell: Callable[[str], None]) -> dict[int, Teacher | Assistant]:
    """The first teacher and those that a stage learns from, by their number in the recipe."""
    used = {0} | {recipe.teacher_index(index) for index in range(len(recipe.stage))}
    found: dict[int, Teacher | Assistant] = {}
    for number in sorted(used):
        table = recipe.teacher[number]
        tell(f"loading the teacher {table.model}")
        load = load_assistant if is_student(table.model) else load_teacher
        found[number] = load(table.model, dtype=DTYPES[table.dtype])
    return found


def build_student(recipe: Recipe, teacher: Teacher | Assistant) -> GooseForCausalLM:
    """The student before training; draws from the global generator where it is converted."""
    table = recipe.student
    with _about_student():
        if table.start is not None:
            student = continued(load_student(table.start), **table.overrides())
            _fit(student, teacher, table)
        else:
            student = convert(_transformer(teacher), variant=table.variant, **table.overrides())
    if recipe.train.checkpointing:
        # The new name came within Transformers 5, the old one warns where both exist.
        old = "gradient_checkpointing_enable"
        enable = getattr(student, "activation_checkpointing_enable", None) or getattr(student, old)
        enable({"use_reentrant": False})
    return student


@torch.no_grad()
def _fit(student: GooseForCausalLM, teacher: Teacher | Assistant, table: StudentTable) -> None:
    """Check that a student to go on with has the teacher's words; take its embedding if asked."""
    theirs = teacher.model.get_input_embeddings().weight
    if theirs.shape[0] != student.config.vocab_size:
        raise RecipeError(
            f"student.start = {table.start!r}: it has {student.config.vocab_size} words, "
            f"the teacher {teacher.name} has {theirs.shape[0]}"
        )
    if table.embedding == "teacher":
        student.embedding.weight.copy_(theirs)
        student.lm_head.weight.copy_(teacher.model.get_output_embeddings().weight)


def _transformer(teacher: Teacher | Assistant) -> Teacher:
    if isinstance(teacher, Assistant):
        raise RecipeError(
            f"teacher.0.model = {teacher.name!r}: a student cannot be converted; name it as "
            "student.start, or put a transformer first"
        )
    return teacher


def student_config_of(recipe: Recipe, teacher: Teacher | Assistant) -> GooseConfig:
    """Configuration of the student that `build_student` gives."""
    table = recipe.student
    with _about_student():
        if table.start is None:
            return student_config(_transformer(teacher), variant=table.variant, **table.overrides())
        with torch.device("meta"):
            start = GooseForCausalLM(GooseConfig.from_pretrained(student_place(table.start)))
        return continued(start, **table.overrides()).config


@contextmanager
def _about_student() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RecipeError(f"student: {error}") from error


def _shard(name: str, tokenizer: PreTrainedTokenizerBase, tell: Callable[[str], None]) -> Shard:
    tell(f"reading {name}")
    return shard(name, "train", tokenizer)


def _stage(
    recipe: Recipe,
    index: int,
    *,
    student: nn.Module,
    teacher: Teacher | Assistant,
    shards: list[Shard],
    at: Accelerator,
) -> StagePlan:
    table, seed = recipe.stage[index], recipe.stage_seed(index)
    return StagePlan(
        name=recipe.stage_name(index),
        stage=STAGES[table.kind](student=student, teacher=teacher, objective=table.objective()),
        loader=WindowLoader(
            shards,
            window=table.window,
            batch=table.batch,
            seed=seed,
            rank=at.process_index,
            world=at.num_processes,
        ),
        trained=lambda: {name: parameter_group(name) for name in trainable(student, table.train)},
        accumulate=table.accumulate,
        tokens_per_step=table.tokens_per_step(at.num_processes),
        lr=table.lr,
        lr_scale=table.lr_scale.model_dump(),
        schedule=_schedule(table, at.num_processes),
        seed=seed,
        precision=table.precision,
    )


def _schedule(table: StageTable, processes: int) -> Schedule:
    steps = table.steps(processes)
    return Schedule(
        shape=table.schedule, steps=steps, warmup=min(table.warmup, steps - 1), floor=table.floor
    )


def _settings(recipe: Recipe) -> RunSettings:
    train: TrainTable = recipe.train
    return RunSettings(**train.model_dump(exclude={"checkpointing"}), log_every=recipe.log.every)


def identity(recipe: Recipe, shards: list[Shard]) -> dict[str, str]:
    """What a resumed run must share with the one it continues: settings and texts."""
    settings = dict(flat(recipe.model_dump(mode="json", exclude_none=True)))
    kept = {k: v for k, v in settings.items() if not k.startswith(FREE)}
    for index, text in enumerate(shards):
        kept[f"text of data.train.{index}"] = json.dumps(asdict(text.meta))
    return kept


def flat(values: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every single value under its dotted place, as `--set` would name it."""
    inner: Mapping[str, Any] | None = None
    if isinstance(values, Mapping):
        inner = values
    elif isinstance(values, list | tuple):
        inner = {str(index): value for index, value in enumerate(values)}
    if inner is None:
        yield place, json.dumps(values)
        return
    for key, value in inner.items():
        yield from flat(value, f"{place}.{key}" if place else key)
