"""Tables of a stage that say how it is taught: gradient rules, watchman, end, curriculum."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    create_model,
    model_validator,
)

from asnn_goose.data.example_sets import check_example_set
from asnn_goose.data.repeat_kinds import KINDS, SHORTEST
from asnn_goose.data.repeats import Repeats
from asnn_goose.model.goose.config import check_words
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.names import check_name
from asnn_goose.recipe.counts import Count
from asnn_goose.recipe.table import Positive, Share, Table, Temperature
from asnn_goose.train.averaging import AverageSettings
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.freezing import FreezeSettings
from asnn_goose.train.gradient_monitor import WatchSettings
from asnn_goose.train.gradient_rule import RuleSettings
from asnn_goose.train.plan import Starts
from asnn_goose.train.rules import RULES
from asnn_goose.train.stages.replace import Replacing

Fraction = Annotated[float, Field(ge=0, le=1)]
Distance = Annotated[int, Field(ge=SHORTEST)]
ExampleSet = Annotated[str, AfterValidator(check_example_set)]


def _precision(value: Any) -> PrecisionTable:
    check_words(value)
    return PrecisionTable(value)


PrecisionSetting = Annotated[
    PrecisionTable, PlainValidator(_precision), PlainSerializer(PrecisionTable.to_json)
]


def _rule_table(settings: type[RuleSettings]) -> type[Table]:
    """The table of a gradient rule: its keys are the fields of the rule's settings."""
    types = get_type_hints(settings)
    keys = {
        field.name: (types[field.name], ... if field.default is MISSING else field.default)
        for field in fields(settings)  # type: ignore[arg-type]  # every row is a dataclass
    }
    name = f"{settings.name.capitalize()}Table"
    table: type[Table] = create_model(name, __base__=Table, __doc__=settings.__doc__, **keys)  # type: ignore[call-overload]
    return table


RULE_TABLES = {name: _rule_table(settings) for name, settings in RULES.items()}


class WatchTable(Table):
    """[stage.watch]: steps between two looks at the gradients of single terms."""

    every: Count = WatchSettings.every

    def settings(self) -> WatchSettings:
        """For the plan."""
        return WatchSettings(every=self.every)


class AverageTable(Table):
    """[stage.average]: end with mean weights (train.averaging.AverageSettings)."""

    since: Annotated[float, Field(ge=0, lt=1)] = AverageSettings.since
    decay: Share = AverageSettings.decay

    def settings(self) -> AverageSettings:
        """For the plan."""
        return AverageSettings(since=self.since, decay=self.decay)


class FreezeTable(Table):
    """[stage.freeze]: weights that keep their code from then on (train.freezing.FreezeSettings)."""

    since: Annotated[float, Field(ge=0, lt=1)] = FreezeSettings.since
    momentum: Share = FreezeSettings.momentum
    still: Fraction | None = None
    swinging: Share | None = None

    def settings(self) -> FreezeSettings:
        """For the plan."""
        return FreezeSettings(**self.model_dump())

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        self.settings()
        return self


class EndTable(Table):
    """[stage.end]: when a stage ends (train.early_stopping.EndSettings says what each key means).

    tokens  held-out tokens, for "validation"
    """

    by: Literal["budget", "plateau", "validation"] = "budget"
    every: Count = EndSettings.every
    patience: Count = EndSettings.patience
    min_delta: float = Field(default=EndSettings.min_delta, ge=0)
    smoothing: float = Field(default=EndSettings.smoothing, ge=0, lt=1)
    tokens: Count = 16_000


class SamplesTable(Table):
    """[stage.samples]: what the student draws in a stage `gkd` (train.stages.gkd.Samples).

    share        lambda: of the micro-batches, whose answers are the student's own
    tokens       longest answer
    temperature  1 draws as the student does
    """

    share: Fraction = 0.5
    tokens: Count = 128
    temperature: Temperature = 1.0


class ReplacingTable(Table):
    """[stage.replacing]: which attentions a stage `replace` replaces in a pass.

    share   probability of each, two numbers: at the start and at the end of the stage
    layers  among which it draws, counted from 0; all where there is none
    """

    share: tuple[Fraction, Fraction] = (0.1, 1.0)
    layers: tuple[Annotated[int, Field(ge=0)], ...] = ()

    def settings(self) -> Replacing:
        """For the stage."""
        return Replacing(share=self.share, layers=self.layers)

    @model_validator(mode="after")
    def _layers_differ(self) -> Self:
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers = {list(self.layers)}: name each once")
        return self


class RepeatsTable(Table):
    """[stage.repeats]: windows made of repeats among those of the texts (data.repeats.Repeats).

    share     of the windows: one number, or two, at the start and at the end of the stage
    distance  longest distance of a repeat in tokens, likewise
    kinds     rows of data.repeat_kinds.KINDS
    alone     whether only repeated words of such windows count
    """

    share: Share | tuple[Fraction, Fraction]
    distance: Distance | tuple[Distance, Distance] = 256
    kinds: tuple[str, ...] = Field(default=tuple(KINDS), min_length=1)
    alone: bool = False

    def settings(self) -> Repeats:
        """For the loader."""
        share = self.share if isinstance(self.share, tuple) else (self.share, self.share)
        ends = self.distance if isinstance(self.distance, tuple) else (self.distance, self.distance)
        return Repeats(share=share, distance=ends, kinds=self.kinds, alone=self.alone)

    @model_validator(mode="after")
    def _kinds_exist(self) -> Self:
        for kind in self.kinds:
            check_name(KINDS, kind, setting="kinds")
        return self

    def check(self, window: int) -> None:
        """Raise ValueError where a repeat can lie outside the window."""
        longest = max(self.settings().distance)
        if longest >= window:
            raise ValueError(
                f"repeats.distance = {longest}: must be below the stage's window of {window}"
            )


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a curriculum.

    share        of the pool's windows, easiest first
    temperature  of the losses on the teacher's logits
    kd_weight    factor on their weights; losses on the text get 1 less this
    part         of the stage's tokens
    """

    share: float
    temperature: float
    kd_weight: float
    part: float


PRESETS: dict[str, dict[str, tuple[float, ...]]] = {
    "published": {
        "shares": (0.25, 0.5, 0.75, 1.0),
        "temperatures": (1.0, 1.33, 1.67, 2.0),
        "kd_weights": (0.7, 0.8, 0.9, 1.0),
    },
    # Three phases and a falling KD weight are the seed's; it gives no numbers that we could check.
    "seed": {
        "shares": (0.33, 0.66, 1.0),
        "temperatures": (1.0, 1.5, 2.0),
        "kd_weights": (0.9, 0.8, 0.7),
    },
}


class CurriculumTable(Table):
    """[stage.curriculum]: a stage in phases, on ever more of its windows (arXiv 2506.05695).

    preset        "published" or "seed": the next three where they are not given
    shares        of the pool's windows, rising to 1
    temperatures  of the losses on the teacher's logits that have one
    kd_weights    alpha: factor on the weights of those losses; of those on the text, 1 - alpha
    parts         of the stage's tokens; without it in proportion to the shares, as the same number
                  of epochs in every phase gives
    pool          tokens of the windows that are ranked and then trained on

    The phases change where their parts are used up, or earlier as [stage.end] says.
    """

    kind: Literal["pocl"] = "pocl"
    preset: Literal["published", "seed"] = "published"
    shares: tuple[Share, ...] | None = None
    temperatures: tuple[Temperature, ...] | None = None
    kd_weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    parts: tuple[Positive, ...] | None = None
    pool: Count = 100_000

    def lists(self) -> dict[str, tuple[float, ...]]:
        """The four lists, one value for every phase; `parts` sum to 1."""
        own = {key: getattr(self, key) for key in PRESETS[self.preset]}
        found = {key: own[key] or PRESETS[self.preset][key] for key in own}
        parts = self.parts or found["shares"]
        return found | {"parts": tuple(part / sum(parts) for part in parts)}

    def phases(self) -> list[Phase]:
        """The phases, first one first."""
        lists = self.lists()
        names = ("share", "temperature", "kd_weight", "part")
        rows = zip(*lists.values(), strict=True)
        return [Phase(**dict(zip(names, row, strict=True))) for row in rows]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        lists = self.lists()
        lengths = {key: len(values) for key, values in lists.items()}
        if len(set(lengths.values())) > 1:
            counted = ", ".join(f"{count} {key}" for key, count in lengths.items())
            raise ValueError(f"there are {counted}: give one for every phase")
        shares = list(lists["shares"])
        if shares != sorted(shares) or shares[-1] != 1:
            raise ValueError(f"shares = {shares}: must rise, and end at 1")
        return self


def taught(
    values: dict[str, Any], phase: Phase, *, tempered: bool, teacher: bool
) -> dict[str, Any] | None:
    """Settings of a loss over the vocabulary in a phase; None where its weight is 0."""
    alpha = phase.kd_weight if teacher else 1 - phase.kd_weight
    weight = values["weight"] * alpha
    if weight <= 0:
        return None
    found = values | {"weight": weight}
    return found | {"temperature": phase.temperature} if tempered else found


def check_starts(starts: Starts, precision: PrecisionTable | None) -> None:
    """Raise ValueError where a stage would choose ternary weights and has none, or fit them."""
    planes = precision is not None and precision.has_planes
    if starts.calibrate and not planes:
        raise ValueError(
            f"calibrate = {starts.calibrate}: it chooses ternary weights, and the stage's "
            "precision has no planes"
        )
    if starts.least_squares and planes:
        raise ValueError(
            f"least_squares = {starts.least_squares}: it fits dense weights, and the stage's "
            "precision has planes: take calibrate"
        )
