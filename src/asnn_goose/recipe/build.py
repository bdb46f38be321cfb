"""From a checked recipe to the objects that a run is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.example_sets import ExampleSets
from asnn_goose.data.shards import Shard, shard
from asnn_goose.data.training_texts import held_texts, training_shards
from asnn_goose.model import (
    GooseConfig,
    GooseForCausalLM,
    Teacher,
    convert,
    student_config,
)
from asnn_goose.model.assistant import Assistant, continued, load_student
from asnn_goose.places import student_place
from asnn_goose.recipe.example_plans import ExamplePlanner
from asnn_goose.recipe.fit import check_student, repeated_pools
from asnn_goose.recipe.identity import identity
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.run_tables import SCRATCH, StudentTable, TrainTable
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.stage_plans import StagePlanner
from asnn_goose.recipe.teachers import load_teachers, stage_teacher, with_caches
from asnn_goose.train.plan import RunPlan, RunSettings
from asnn_goose.train.sharded_stage import shard_teacher
from asnn_goose.train.trackers import check_installed


def build_run(recipe: Recipe, *, tell: Callable[[str], None]) -> RunPlan:
    """Load the teacher, convert it, tokenise the texts and put the stages together.

    `tell` is called with a sentence before each of these. Raises RecipeError where teacher,
    student and recipe do not fit, and what data, model and sources raise.
    """
    # What can fail at once comes before what takes minutes.
    check_installed(recipe.log.trackers)
    accelerator = _accelerator(recipe)
    with accelerator.main_process_first():
        teachers = load_teachers(recipe, tell=tell)
    tokenizer = _tokenizer(teachers[0])
    # After the teacher, whose loading may draw numbers: the student's start hangs on the recipe's
    # seed alone.
    set_seed(recipe.seed)
    student = build_student(recipe, teachers[0])
    check_student(recipe, student.config)
    # Only now: conversion reads the teacher's weights on the CPU, bit for bit alike everywhere.
    _place(teachers, recipe, accelerator)
    with accelerator.main_process_first():
        shards, held_out = _texts(recipe, tokenizer, tell)
    for warning in repeated_pools(recipe):
        tell(warning)
    taught = with_caches(recipe, teachers, tell=tell)
    examples = example_planner(recipe, tokenizer, accelerator=accelerator, tell=tell)
    planner = StagePlanner(
        recipe=recipe,
        student=student,
        shards=shards,
        held_out=held_out,
        accelerator=accelerator,
        examples=examples,
    )
    return RunPlan(
        student=student,
        tokenizer=tokenizer,
        stages=tuple(
            plan
            for index in range(len(recipe.stage))
            for plan in planner.plans(index, stage_teacher(recipe, index, taught))
        ),
        settings=run_settings(recipe),
        identity=identity(recipe, shards) | dict(examples.identity() if examples else ()),
        accelerator=accelerator,
        recipe_toml=recipe.to_toml(),
    )


def _place(
    teachers: Mapping[int, Teacher | Assistant], recipe: Recipe, accelerator: Accelerator
) -> None:
    """Bring teachers to the device, in parts where the recipe wants them so."""
    for number, teacher in teachers.items():
        # A cached one runs where a window is new, which is not the same on all processes.
        cached = recipe.teacher[number].cache is not None
        if recipe.train.shard and isinstance(teacher, Teacher) and not cached:
            shard_teacher(teacher, accelerator)
        else:
            teacher.model.to(accelerator.device)


def _tokenizer(teacher: Teacher | Assistant) -> PreTrainedTokenizerBase:
    if teacher.tokenizer is None:
        raise RecipeError(f"teacher {teacher.name} comes without a tokenizer: add its files")
    return teacher.tokenizer


def build_student(recipe: Recipe, teacher: Teacher | Assistant) -> GooseForCausalLM:
    """The student before training; draws from the global generator where it is converted."""
    table = recipe.student
    with _about_student():
        if table.start == SCRATCH:
            student = GooseForCausalLM(student_config_of(recipe, teacher))
        elif table.start is not None:
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
    theirs = teacher.embedding_VD
    if theirs.shape[0] != student.config.vocab_size:
        raise RecipeError(
            f"student.start = {table.start!r}: it has {student.config.vocab_size} words, "
            f"the teacher {teacher.name} has {theirs.shape[0]}"
        )
    if table.embedding == "teacher":
        student.embedding.weight.copy_(theirs)
        student.lm_head.weight.copy_(teacher.student_head_VD)


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
        if table.start in (None, SCRATCH):
            known: dict[str, Any] = {"variant": table.variant, "preset": table.preset}
            return student_config(_transformer(teacher), **known, **table.overrides())
        place = student_place(table.start)
        # Shapes without memory: the dry run asks for a configuration, not for weights.
        with torch.device("meta"):
            start = GooseForCausalLM(GooseConfig.from_pretrained(place))
        return continued(start, **table.overrides()).config


@contextmanager
def _about_student() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RecipeError(f"student: {error}") from error


def example_planner(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    *,
    accelerator: Accelerator,
    tell: Callable[[str], None],
) -> ExamplePlanner | None:
    """What plans stages that read examples; None where no stage does."""
    if not any(stage.examples for stage in recipe.stage):
        return None
    data = recipe.data
    against = held_texts(
        data.out_of_domain if data.decontaminate is None else data.decontaminate,
        required=data.decontaminate is not None,
        tell=tell,
    )
    sets = ExampleSets(tokenizer, against=against)
    return ExamplePlanner(recipe=recipe, sets=sets, accelerator=accelerator, tell=tell)


def _texts(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, tell: Callable[[str], None]
) -> tuple[list[Shard], list[Shard]]:
    """Shards to train on, and those held out where a stage ends by validation.

    None where every stage reads examples: no text is fetched for nothing.
    """
    data, readers = recipe.data, [stage for stage in recipe.stage if not stage.examples]
    if not readers:
        return [], []
    shards = training_shards(
        data.train,
        tokenizer,
        against=data.out_of_domain if data.decontaminate is None else data.decontaminate,
        # What nobody asked for must not keep a run from its own texts.
        required=data.decontaminate is not None,
        tell=tell,
    )
    validated = any(s.end is not None and s.end.by == "validation" for s in readers)
    names = data.train if validated else ()
    return shards, [shard(name, "validation", tokenizer) for name in names]


def _accelerator(recipe: Recipe) -> Accelerator:
    names = list(recipe.log.trackers)
    # The run's folder, which is not known yet, takes the place of this one before anything starts.
    logs: dict[str, Any] = {"log_with": names, "project_dir": "."} if names else {}
    # In no precision of its own: the trainer's autocast also holds where no step is taken, for
    # texts held out and the search for what is not finite.
    accelerator = Accelerator(mixed_precision="no", **logs)
    if recipe.train.shard and accelerator.num_processes == 1:
        raise RecipeError(
            "train.shard = true: one process trains, and has nobody to share the student with; "
            "start several with accelerate launch, or leave shard out"
        )
    return accelerator


def run_settings(recipe: Recipe) -> RunSettings:
    """What holds for every stage of a run."""
    train: TrainTable = recipe.train
    return RunSettings(**train.model_dump(exclude={"checkpointing"}), log_every=recipe.log.every)
