"""Tables of a recipe that hold for the whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, create_model, model_validator

from asnn_goose.data.corpora import (
    BROAD,
    DEFAULT_OUT_OF_DOMAIN,
    DEFAULT_TRAIN,
    find_corpus,
    mixture,
)
from asnn_goose.data.teacher_cache import CacheSettings
from asnn_goose.model import DEFAULT_VARIANT, PRESETS, VARIANTS, GooseConfig
from asnn_goose.model.parts.config import FIELDS
from asnn_goose.numbers import MOST_THREADS
from asnn_goose.recipe.counts import Count, CountOrAll
from asnn_goose.recipe.table import Positive, Table, Temperature, one_of
from asnn_goose.train.plan import RunSettings
from asnn_goose.train.trackers import TRACKERS

SCRATCH = "scratch"
"""Start of a student that inherits no weights."""


def _text_source(name: str) -> str:
    find_corpus(name)
    return name


TextSource = Annotated[str, AfterValidator(_text_source)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class CacheTable(Table):
    """[teacher.cache]: what is kept of a teacher on the disk (data.teacher_cache.CacheSettings)."""

    top: Annotated[int, Field(ge=1, le=4096)] = CacheSettings.top
    temperatures: tuple[Temperature, ...] = Field(default=CacheSettings.temperatures, min_length=1)
    features: Literal["fp16", "int8"] | None = None

    def settings(self) -> CacheSettings:
        """For the teacher."""
        return CacheSettings(**dict(self))


class TeacherTable(Table):
    """A model to learn from: a built-in name, a folder or a Hub id; or a student as an assistant.

    `name` is what a stage calls it; the first teacher is what stages take that name none. With a
    `cache` it runs once on a window, and what it said is read from the disk from then on.
    """

    model: str
    name: str = ""
    dtype: Literal["fp32", "bf16"] = "fp32"
    cache: CacheTable | None = None


class _Student(Table):
    """How the student differs from the one that the teacher's shape gives.

    start      folder of a run or student to go on from, instead of converting the teacher; or
               "scratch" for the published start of its mixer in the teacher's shape
    embedding  "teacher" puts the first teacher's embedding and head back into such a start
    preset     a whole published model to learn from scratch, in the teacher's width and depth
    """

    start: str | None = None
    embedding: Literal["own", "teacher"] = "own"
    variant: Annotated[str, one_of(VARIANTS)] = DEFAULT_VARIANT
    preset: Annotated[str, one_of(PRESETS)] | None = None

    def overrides(self) -> dict[str, Any]:
        """Fields of GooseConfig that the recipe sets."""
        return self.model_dump(exclude=set(_Student.model_fields), exclude_none=True)

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> Self:
        goes_on = self.start not in (None, SCRATCH)
        if goes_on and self.variant != DEFAULT_VARIANT:
            raise ValueError(f"variant = {self.variant!r}: a student to go on from has its own")
        if self.preset is not None and self.start != SCRATCH:
            raise ValueError(f"preset = {self.preset!r}: it learns from scratch: start = 'scratch'")
        if self.preset is not None and self.variant != DEFAULT_VARIANT:
            raise ValueError(f"variant = {self.variant!r}: a preset says it all; leave it out")
        if self.embedding == "teacher" and not goes_on:
            raise ValueError("embedding = 'teacher': only where start names a student")
        return self

    @model_validator(mode="after")
    def _words_exist(self) -> Self:
        # Made once here, so that a wrong word in [student] fails before a teacher is loaded.
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
        **{name: (f"{kind} | None", None) for name, kind in FIELDS.items()},
    )


class DataTable(Table):
    """Texts: corpora by name, .txt, .jsonl and .parquet files, or hf: data sets.

    train          "broad" stands for every corpus of that mixture, and is spelt out when it is read
    weights        share of every text of `train` in the windows; by their lengths where it is empty
    decontaminate  texts of evaluation: training documents that share thirteen words in a row with
                   one are left out; those of `out_of_domain` where it is not set
    resets         begin every document of a packed window with an empty state, teacher and student
    windows        "moving": cut anew in every epoch, in an order of each stage's own; "fixed": cut
                   at the same places in every epoch, stage and run, and in one order, but where a
                   stage sets a `seed`, so that a teacher's cache meets them again
    """

    train: tuple[TextSource, ...] = Field(default=DEFAULT_TRAIN, min_length=1)
    weights: tuple[Positive, ...] = ()
    decontaminate: tuple[TextSource, ...] | None = None
    resets: bool = False
    windows: Literal["moving", "fixed"] = "moving"
    out_of_domain: tuple[TextSource, ...] = DEFAULT_OUT_OF_DOMAIN

    @model_validator(mode="before")
    @classmethod
    def _mixtures_are_spelt_out(cls, values: Any) -> Any:
        names = values.get("train") if isinstance(values, dict) else None
        if not isinstance(names, list | tuple) or BROAD not in names:
            return values
        train, weights = mixture(names, values.get("weights", ()))
        return values | {"train": train, "weights": weights}

    @model_validator(mode="after")
    def _a_weight_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.train):
            raise ValueError(
                f"weights = {list(self.weights)}: give one to each of the {len(self.train)} texts"
            )
        return self


class TrainTable(Table):
    """What holds for every stage (train.plan.RunSettings says what each means)."""

    threads: Annotated[Count, Field(le=MOST_THREADS)] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpointing: bool = False
    shard: bool = RunSettings.shard
    clip: Positive = RunSettings.clip
    clip_by: Literal["all", "group"] = "all"
    betas: tuple[Beta, Beta] = RunSettings.betas
    eps: Positive = RunSettings.eps
    weight_decay: float = Field(default=RunSettings.weight_decay, ge=0)
    checkpoint_minutes: float = Field(default=RunSettings.checkpoint_minutes, ge=0)
    keep: int = Field(default=RunSettings.keep, ge=2)


class EvalTable(Table):
    """Protocol of `asnn-goose eval` for this run."""

    window: Count = 512
    tokens: CountOrAll = 32_000


class LogTable(Table):
    """Lines of metrics.jsonl, one every so many steps, and trackers that get the same."""

    every: Count = 1
    trackers: tuple[Annotated[str, one_of(TRACKERS)], ...] = ()
