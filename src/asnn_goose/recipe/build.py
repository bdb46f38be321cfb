"""From a checked recipe to the objects that a run is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedTokenizerBase

from asnn_goose.data.loader import Pool, Subset, WindowLoader
from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.data.shards import Shard, shard
from asnn_goose.model import (
    GooseConfig,
    GooseForCausalLM,
    Teacher,
    convert,
    student_config,
)
from asnn_goose.model.assistant import (
    Assistant,
    continued,
    load_student,
    student_place,
)
from asnn_goose.model.goose.groups import parameter_group, trainable
from asnn_goose.recipe.errors import RecipeError
from asnn_goose.recipe.identity import identity
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.recipe.tables import SCRATCH, StudentTable, TrainTable
from asnn_goose.recipe.teachers import load_teachers, stage_teacher
from asnn_goose.train.ending import EndSettings
from asnn_goose.train.plan import RunPlan, RunSettings, StagePlan, Starts
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.stages import STAGES
from asnn_goose.train.stages.stage import Tracing
from asnn_goose.train.trackers import check_installed
from asnn_goose.train.validation import Validation

PHASE_SEEDS = 100
"""Between the seeds of a curriculum's phases."""


def build_run(recipe: Recipe, *, tell: Callable[[str], None]) -> RunPlan:
    """Load the teacher, convert it, tokenise the texts and put the stages together.

    `tell` is called with a sentence before each of these. Raises RecipeError where teacher,
    student and recipe do not fit, and what data, model and sources raise.
    """
    check_installed(recipe.log.trackers)
    accelerator = _accelerator(recipe)
    with accelerator.main_process_first():
        teachers = load_teachers(recipe, tell=tell)
    tokenizer = teachers[0].tokenizer
    if tokenizer is None:
        raise RecipeError(f"teacher {teachers[0].name} comes without a tokenizer: add its files")
    set_seed(recipe.seed)
    student = build_student(recipe, teachers[0])
    _check_windows(recipe, student.config)
    for teacher in teachers.values():
        teacher.model.to(accelerator.device)
    with accelerator.main_process_first():
        shards, held_out = _texts(recipe, tokenizer, tell)
    return RunPlan(
        student=student,
        tokenizer=tokenizer,
        stages=tuple(
            plan
            for index in range(len(recipe.stage))
            for plan in _stages(
                recipe,
                index,
                student=student,
                teacher=stage_teacher(recipe, index, teachers),
                texts=(shards, held_out),
                at=accelerator,
            )
        ),
        settings=_settings(recipe),
        identity=identity(recipe, shards),
        accelerator=accelerator,
        recipe_toml=recipe.to_toml(),
    )


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


def _check_windows(recipe: Recipe, config: GooseConfig) -> None:
    """Raise RecipeError where a window is longer than the learned positions reach."""
    for index, stage in enumerate(recipe.stage):
        if config.n_positions and stage.window > config.n_positions:
            raise RecipeError(
                f"stage.{index}.window = {stage.window}: the student has {config.n_positions} "
                "learned positions"
            )


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
        if table.start in (None, SCRATCH):
            return student_config(_transformer(teacher), variant=table.variant, **table.overrides())
        place = student_place(table.start)
        with torch.device("meta"):
            start = GooseForCausalLM(GooseConfig.from_pretrained(place))
        return continued(start, **table.overrides()).config


@contextmanager
def _about_student() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RecipeError(f"student: {error}") from error


def _texts(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, tell: Callable[[str], None]
) -> tuple[list[Shard], list[Shard]]:
    """Shards to train on, and those held out where a stage ends by validation."""
    shards = []
    for name in recipe.data.train:
        tell(f"reading {name}")
        shards.append(shard(name, "train", tokenizer))
    validated = any(s.end is not None and s.end.by == "validation" for s in recipe.stage)
    names = recipe.data.train if validated else ()
    return shards, [shard(name, "validation", tokenizer) for name in names]


def _accelerator(recipe: Recipe) -> Accelerator:
    names = list(recipe.log.trackers)
    if not names:
        return Accelerator(mixed_precision="no")
    # The run's folder, which is not known yet, takes the place of this one before anything starts.
    return Accelerator(mixed_precision="no", log_with=names, project_dir=".")


def _stages(
    recipe: Recipe,
    index: int,
    *,
    student: nn.Module,
    teacher: Tracing,
    texts: tuple[list[Shard], list[Shard]],
    at: Accelerator,
) -> list[StagePlan]:
    """A stage of the recipe, or the phases that its curriculum makes of it."""
    whole, seed, name = recipe.stage[index], recipe.stage_seed(index), recipe.stage_name(index)
    pool = None
    if whole.curriculum is not None:
        windows = _windows(whole, texts[0], seed=seed, at=at)
        pool = Pool(windows, count=whole.curriculum.pool // whole.window)
    plans = []
    for number, (table, share) in enumerate(whole.phases()):
        own = seed + PHASE_SEEDS * number
        subset = None if pool is None or share is None else Subset(pool=pool, share=share)
        plan = StagePlan(
            name=name if share is None else f"{name}.{number + 1}",
            stage=STAGES[table.kind](
                student=student,
                teacher=teacher,
                objective=table.objective(),
                resets=recipe.data.resets,
            ),
            loader=_loader(recipe, table, texts[0], seed=own, at=at, subset=subset),
            trained=partial(_groups, student, table.train),
            accumulate=table.accumulate,
            tokens_per_step=table.tokens_per_step(at.num_processes),
            lr=table.lr,
            lr_scale=table.lr_scale.model_dump(),
            schedule=_schedule(table, at.num_processes),
            seed=own,
            precision=table.precision,
            starts=table.starts() if number == 0 else Starts(),
            dot=None if table.dot is None else table.dot.settings(),
            project=None if table.project is None else table.project.settings(),
            watch=None if table.watch is None else table.watch.settings(),
            end=_end(table, texts[1], seed=own, at=at),
            pool=pool,
        )
        plans.append(plan)
    return plans


def _groups(student: nn.Module, train: str) -> dict[str, str]:
    return {name: parameter_group(name) for name in trainable(student, train)}


def _loader(
    recipe: Recipe,
    table: StageTable,
    shards: list[Shard],
    *,
    seed: int,
    at: Accelerator,
    subset: Subset | None,
) -> WindowLoader | MixtureLoader:
    if not recipe.data.weights:
        return _windows(table, shards, seed=seed, at=at, subset=subset)
    return MixtureLoader(
        shards,
        weights=recipe.data.weights,
        window=table.window,
        batch=table.batch,
        seed=seed,
        rank=at.process_index,
        world=at.num_processes,
    )


def _windows(
    table: StageTable,
    shards: list[Shard],
    *,
    seed: int,
    at: Accelerator,
    subset: Subset | None = None,
) -> WindowLoader:
    return WindowLoader(
        shards,
        window=table.window,
        batch=table.batch,
        seed=seed,
        rank=at.process_index,
        world=at.num_processes,
        subset=subset,
    )


def _end(
    table: StageTable, held_out: list[Shard], *, seed: int, at: Accelerator
) -> EndSettings | None:
    if table.end is None or table.end.by == "budget":
        return None
    validation = None
    if table.end.by == "validation":
        loader = _windows(table, held_out, seed=seed, at=at)
        size = table.window * table.batch * at.num_processes
        validation = Validation(loader=loader, batches=math.ceil(table.end.tokens / size))
    return EndSettings(**table.end.model_dump(exclude={"tokens"}), validation=validation)


def _schedule(table: StageTable, processes: int) -> Schedule:
    steps = table.steps(processes)
    return Schedule(
        shape=table.schedule, steps=steps, warmup=min(table.warmup, steps - 1), floor=table.floor
    )


def _settings(recipe: Recipe) -> RunSettings:
    train: TrainTable = recipe.train
    return RunSettings(**train.model_dump(exclude={"checkpointing"}), log_every=recipe.log.every)
