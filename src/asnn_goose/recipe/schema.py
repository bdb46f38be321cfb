"""The whole recipe, and what its tables must agree on.

Everything that can be checked without loading a model is checked here.
"""

from __future__ import annotations

from typing import Self

import tomli_w
from pydantic import Field, model_validator

from asnn_goose.names import hint
from asnn_goose.numbers import SEEDS
from asnn_goose.recipe.loss_tables import ALL_LOSSES, LossTable
from asnn_goose.recipe.run_tables import (
    DataTable,
    EvalTable,
    LogTable,
    StudentTable,
    TeacherTable,
    TrainTable,
)
from asnn_goose.recipe.stage_schema import StageTable
from asnn_goose.recipe.table import Seed, Table
from asnn_goose.recipe.teacher_caches import check_cached
from asnn_goose.train.stages import STAGES

__all__ = ["ALL_LOSSES", "LossTable", "Recipe", "StageTable", "StudentTable", "Table"]


class Recipe(Table):
    """A whole recipe. Stages without a name or seed of their own get one."""

    name: str = Field(min_length=1, pattern=r"^\w[\w.-]*$")
    seed: Seed = 0
    teacher: tuple[TeacherTable, ...] = Field(min_length=1)
    student: StudentTable = StudentTable()
    data: DataTable = DataTable()
    train: TrainTable = TrainTable()
    eval: EvalTable = EvalTable()
    log: LogTable = LogTable()
    stage: tuple[StageTable, ...] = Field(min_length=1)

    def to_toml(self) -> str:
        """The recipe with every default written out; loading it gives the same recipe."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def trained_stages(self) -> list[tuple[str, StageTable]]:
        """Names and tables of what is trained, in order: stages, and the phases of curricula."""
        found = []
        for index, stage in enumerate(self.stage):
            for number, (table, share) in enumerate(stage.phases(), start=1):
                name = self.stage_name(index)
                found.append((name if share is None else f"{name}.{number}", table))
        return found

    def stage_name(self, index: int) -> str:
        """Name of a stage: its own, or its kind, numbered where the kind comes twice."""
        stage = self.stage[index]
        twice = sum(other.kind == stage.kind and not other.name for other in self.stage) > 1
        return stage.name or (f"{stage.kind}-{index}" if twice else stage.kind)

    def stage_seed(self, index: int) -> int:
        """Seed of a stage: its own, or one that the recipe's seed gives."""
        own = self.stage[index].seed
        # A thousand apart: neighbouring seeds of a recipe share no stage's seed.
        return (1000 * self.seed + index) % SEEDS if own is None else own

    def teacher_numbers(self, index: int) -> tuple[int, ...]:
        """Numbers of the teachers that stage `index` learns from; the first where it names none."""
        stage = self.stage[index]
        wanted = stage.teachers or ((stage.teacher,) if stage.teacher else ())
        return tuple(self.teacher_names().index(name) for name in wanted) or (0,)

    def teacher_names(self) -> list[str]:
        """What stages may call the teachers: their names, or their models where they have none."""
        return [teacher.name or teacher.model for teacher in self.teacher]

    @model_validator(mode="after")
    def _momenta_fit(self) -> Self:
        for stage in self.stage:
            stage.rule().check_momentum(self.train.betas[0])
        return self

    @model_validator(mode="after")
    def _teachers_exist(self) -> Self:
        names = self.teacher_names()
        if len(set(names)) < len(names):
            raise ValueError(f"teachers are {', '.join(names)}: give each a name of its own")
        for index, stage in enumerate(self.stage):
            for name in (stage.teacher, *stage.teachers):
                if name and name not in names:
                    raise ValueError(f"stage.{index}.teacher = {name!r}: {hint(name, names)}")
        return self

    @model_validator(mode="after")
    def _types_meet(self) -> Self:
        if self.train.precision == "bf16":
            return self
        for index, stage in enumerate(self.stage):
            for number in self.teacher_numbers(index):
                if STAGES[stage.kind].runs != "whole" and self.teacher[number].dtype == "bf16":
                    raise ValueError(
                        f"teacher.{number}.dtype = 'bf16': {stage.kind} runs the student on its "
                        "hidden states in fp32; set dtype = 'fp32' or train.precision = 'bf16'"
                    )
        return self

    @model_validator(mode="after")
    def _caches_suffice(self) -> Self:
        for index, stage in enumerate(self.stage):
            taught = [] if stage.kind == "pretrain" else self.teacher_numbers(index)
            for number in (k for k in taught if self.teacher[k].cache is not None):
                try:
                    check_cached(stage, self.teacher[number])
                except ValueError as error:
                    raise ValueError(f"teacher.{number}.cache: in stage.{index}, {error}") from None
                if self.data.windows == "moving":
                    raise ValueError(
                        f"teacher.{number}.cache: windows that move are never met again; set "
                        "data.windows = 'fixed', or leave the cache out"
                    )
        return self

    @model_validator(mode="after")
    def _weights_have_an_effect(self) -> Self:
        for index, stage in enumerate(self.stage):
            if stage.curriculum is not None and self.data.weights:
                raise ValueError(
                    f"stage.{index}.curriculum: it chooses windows by difficulty, data.weights by "
                    "text; leave one out"
                )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.stage_name(index) for index in range(len(self.stage))]
        if len(set(names)) < len(names):
            raise ValueError(f"stages are named {', '.join(names)}: give each a name of its own")
        return self
