"""Tables of a recipe and what may stand in them.

Everything that can be checked without loading a model is checked here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator

from asnn_goose.data.corpora import DEFAULT_OUT_OF_DOMAIN, DEFAULT_TRAIN, find_corpus
from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term, TraceLoss, VocabLoss
from asnn_goose.model import VARIANTS, GooseConfig
from asnn_goose.model.goose.precision import check_words
from asnn_goose.recipe.errors import hint
from asnn_goose.recipe.numbers import Count, CountOrAll
from asnn_goose.train.schedule import SHAPES
from asnn_goose.train.stages import STAGES

ALL_LOSSES: dict[str, type[TraceLoss] | type[VocabLoss]] = {**LOSSES, **VOCAB_LOSSES}


def one_of(valid: Collection[str]) -> AfterValidator:
    """Validator of a name that must be a row of a table."""

    def check(name: str) -> str:
        if name not in valid:
            raise ValueError(hint(name, valid))
        return name

    return AfterValidator(check)


def _text_source(name: str) -> str:
    find_corpus(name)
    return name


TextSource = Annotated[str, AfterValidator(_text_source)]
Positive = Annotated[float, Field(gt=0)]


class Table(BaseModel):
    """A table of a recipe: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TeacherTable(Table):
    """A model to learn from: a built-in name, a folder or a Hub id; or a student as an assistant.

    `name` is what a stage calls it; the first teacher is what stages take that name none.
    """

    model: str
    name: str = ""
    dtype: Literal["fp32", "bf16"] = "fp32"


class _Student(Table):
    """How the student differs from the one that the teacher's shape gives.

    start      folder of a run or student to go on from, instead of converting the teacher
    embedding  "teacher" puts the first teacher's embedding and head back into such a start
    """

    start: str | None = None
    embedding: Literal["own", "teacher"] = "own"
    variant: Annotated[str, one_of(VARIANTS)] = "goose"

    def overrides(self) -> dict[str, Any]:
        """Fields of GooseConfig that the recipe sets."""
        return self.model_dump(exclude=set(_Student.model_fields), exclude_none=True)

    @model_validator(mode="after")
    def _words_exist(self) -> Self:
        GooseConfig(**self.overrides())
        return self


if TYPE_CHECKING:

    class StudentTable(_Student):
        """[student]: `variant` and the fields of GooseConfig; None where the recipe sets none."""

else:
    StudentTable = create_model(
        "StudentTable",
        __base__=_Student,
        # The annotations are strings of builtin types, which pydantic evaluates.
        **{name: (f"{kind} | None", None) for name, kind in GooseConfig.__annotations__.items()},
    )


class DataTable(Table):
    """Texts: corpora by name, or .txt and .jsonl files."""

    train: tuple[TextSource, ...] = Field(default=DEFAULT_TRAIN, min_length=1)
    out_of_domain: tuple[TextSource, ...] = DEFAULT_OUT_OF_DOMAIN


class TrainTable(Table):
    """What holds for every stage (train.plan.RunSettings says what each means)."""

    threads: Count | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpointing: bool = False
    clip: Positive = 1.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    weight_decay: float = Field(default=0.0, ge=0)
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    keep: int = Field(default=2, ge=2)


class EvalTable(Table):
    """Protocol of `asnn-goose eval` for this run."""

    window: Count = 512
    tokens: CountOrAll = 32_000


class LogTable(Table):
    """Lines of metrics.jsonl: one every so many steps."""

    every: Count = 1


class LossTable(Table):
    """One loss of a stage: its name, its weight, and the settings of its constructor."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, one_of(ALL_LOSSES)]
    weight: Positive = 1.0

    def term(self) -> Term:
        """The loss itself."""
        return Term(self.name, self.weight, ALL_LOSSES[self.name](**(self.model_extra or {})))

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        valid = inspect.signature(ALL_LOSSES[self.name]).parameters
        for key in self.model_extra or {}:
            if key not in valid:
                keys = {*valid, "name", "weight"}
                raise ValueError(f"loss {self.name!r} has no setting {key!r}: {hint(key, keys)}")
        try:
            self.term()
        except TypeError as error:
            raise ValueError(f"loss {self.name!r}: {error}") from error
        return self


class LrScaleTable(Table):
    """Factors on the learning rate by group of parameters; `loss` is a loss's own."""

    matrix: Positive = 1.0
    vector: Positive = 1.0
    norm: Positive = 1.0
    embedding: Positive = 1.0
    quantiser: Positive = 1.0
    loss: Positive = 1.0


class StageTable(Table):
    """One stage: what trains, on which losses, on how many tokens, at which rate."""

    kind: Annotated[str, one_of(STAGES)]
    name: str = ""
    teacher: str = ""
    precision: dict[str, Any] | None = None
    train: str
    tokens: Count
    window: Count
    batch: Count
    accumulate: Count = 1
    lr: Positive
    lr_scale: LrScaleTable = LrScaleTable()
    warmup: int = Field(default=0, ge=0)
    schedule: Annotated[str, one_of(SHAPES)] = "cosine"
    floor: float = Field(default=0.0, ge=0, le=1)
    losses: tuple[LossTable, ...] = Field(min_length=1)
    chunk: Count = 256
    seed: int | None = Field(default=None, ge=0)

    def objective(self) -> Objective:
        """The weighted losses."""
        return Objective([loss.term() for loss in self.losses], chunk=self.chunk)

    def tokens_per_step(self, processes: int) -> int:
        """Tokens in an optimiser step of all processes."""
        return self.window * self.batch * self.accumulate * processes

    def steps(self, processes: int) -> int:
        """Optimiser steps that use up the tokens; the last one may go over."""
        return math.ceil(self.tokens / self.tokens_per_step(processes))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kind = STAGES[self.kind]
        if self.precision is not None:
            check_words(self.precision)
        if self.train not in kind.trains:
            raise ValueError(
                f"train = {self.train!r}: {self.kind} can train {' or '.join(sorted(kind.trains))}"
            )
        kind.check(self.objective())
        if self.warmup >= self.steps(1):
            raise ValueError(
                f"warmup = {self.warmup}: must be below the {self.steps(1)} steps that "
                f"{self.tokens} tokens make"
            )
        if self.schedule == "constant" and self.floor:
            raise ValueError(f"floor = {self.floor}: a constant schedule has none")
        return self


class Recipe(Table):
    """A whole recipe. Stages without a name or seed of their own get one."""

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    seed: int = Field(default=0, ge=0)
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

    def stage_name(self, index: int) -> str:
        """Name of a stage: its own, or its kind, numbered where the kind comes twice."""
        stage = self.stage[index]
        twice = sum(other.kind == stage.kind and not other.name for other in self.stage) > 1
        return stage.name or (f"{stage.kind}-{index}" if twice else stage.kind)

    def stage_seed(self, index: int) -> int:
        """Seed of a stage: its own, or one that the recipe's seed gives."""
        own = self.stage[index].seed
        return 1000 * self.seed + index if own is None else own

    def teacher_index(self, index: int) -> int:
        """Number of the teacher that stage `index` learns from."""
        wanted = self.stage[index].teacher
        return self.teacher_names().index(wanted) if wanted else 0

    def teacher_names(self) -> list[str]:
        """What stages may call the teachers: their names, or their models where they have none."""
        return [teacher.name or teacher.model for teacher in self.teacher]

    @model_validator(mode="after")
    def _teachers_exist(self) -> Self:
        names = self.teacher_names()
        if len(set(names)) < len(names):
            raise ValueError(f"teachers are {', '.join(names)}: give each a name of its own")
        for index, stage in enumerate(self.stage):
            if stage.teacher and stage.teacher not in names:
                raise ValueError(
                    f"stage.{index}.teacher = {stage.teacher!r}: {hint(stage.teacher, names)}"
                )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.stage_name(index) for index in range(len(self.stage))]
        if len(set(names)) < len(names):
            raise ValueError(f"stages are named {', '.join(names)}: give each a name of its own")
        return self
