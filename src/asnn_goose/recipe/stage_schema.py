"""One stage of a recipe: what may stand in it, and what it becomes."""

from __future__ import annotations

import math
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, create_model, model_validator

from asnn_goose.losses import Objective, VocabLoss
from asnn_goose.losses.multi_teacher import MultiTeacher
from asnn_goose.recipe.counts import Count
from asnn_goose.recipe.loss_tables import ALL_LOSSES, LossTable, LrScaleTable
from asnn_goose.recipe.stage_tables import (
    RULE_TABLES,
    AverageTable,
    CurriculumTable,
    EndTable,
    ExampleSet,
    FreezeTable,
    Phase,
    PrecisionSetting,
    RepeatsTable,
    ReplacingTable,
    SamplesTable,
    WatchTable,
    check_starts,
)
from asnn_goose.recipe.table import Positive, Seed, Share, Table, one_of
from asnn_goose.train.gradient_rule import RuleSettings, SumSettings
from asnn_goose.train.plan import Starts
from asnn_goose.train.rules import RULES
from asnn_goose.train.schedule import SHAPES
from asnn_goose.train.stages import STAGES


class _Stage(Table):
    """One stage: what trains, on which losses, on how many tokens, at which rate.

    examples    of a stage that reads examples or pairs: built-in sets, files, hf: data sets
    time_steps  of spikes a token, in a stage `equilibrium`
    epochs      how often the stage, or each part of a `slide`, goes over the same windows
    span        blocks that train together, in a stage `slide`
    stride      blocks that it slides on by; 1 where it is not set
    """

    kind: Annotated[str, one_of(STAGES)]
    name: str = ""
    teacher: str = ""
    teachers: tuple[str, ...] = ()
    mix: Literal["uniform", "per_token", "selected"] | tuple[Positive, ...] = "uniform"
    precision: PrecisionSetting | None = None
    balance: Count | None = None
    balance_strength: Share | None = None
    calibrate: Count | None = None
    least_squares: Count | None = None
    train: str
    examples: tuple[ExampleSet, ...] = ()
    tokens: Count
    epochs: Count | None = None
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
    seed: Seed | None = None
    watch: WatchTable | None = None
    end: EndTable | None = None
    average: AverageTable | None = None
    freeze: FreezeTable | None = None
    curriculum: CurriculumTable | None = None
    repeats: RepeatsTable | None = None
    samples: SamplesTable | None = None
    time_steps: Count | None = None
    span: Annotated[int, Field(ge=1, le=8)] | None = None
    stride: Count | None = None
    replacing: ReplacingTable | None = None

    @property
    def rows(self) -> int:
        """Rows of a micro-batch: a pair has two answers."""
        return self.batch * (2 if STAGES[self.kind].reads == "pairs" else 1)

    def phases(self) -> list[tuple[Self, float | None]]:
        """The stages that are trained: itself, or a curriculum's phases with their shares."""
        if self.curriculum is None:
            return [(self, None)]
        return [(self._in_phase(phase), phase.share) for phase in self.curriculum.phases()]

    def _in_phase(self, phase: Phase) -> Self:
        losses = [loss.in_phase(phase) for loss in self.losses]
        own: dict[str, Any] = {"losses": [loss for loss in losses if loss], "curriculum": None}
        own["tokens"] = math.ceil(self.tokens * phase.part)
        return self.model_validate(self.model_dump() | own)

    def starts(self) -> Starts:
        """What is fitted before the first step."""
        return Starts(
            balance=self.balance or 0,
            balance_strength=self.balance_strength or Starts.balance_strength,
            calibrate=self.calibrate or 0,
            least_squares=self.least_squares or 0,
        )

    def rule(self) -> RuleSettings:
        """How the gradients of the terms become a step."""
        named = self._named_rules()
        return next(iter(named.values())) if named else SumSettings()

    def _named_rules(self) -> dict[str, RuleSettings]:
        tables = {name: getattr(self, name, None) for name in RULES}
        return {name: RULES[name](**dict(table)) for name, table in tables.items() if table}

    def objective(self) -> Objective:
        """The weighted losses."""
        return Objective([loss.term() for loss in self.losses], chunk=self.chunk)

    def tokens_per_step(self, processes: int) -> int:
        """Tokens in an optimiser step of all processes."""
        return self.window * self.rows * self.accumulate * processes

    def steps(self, processes: int) -> int:
        """Optimiser steps that use up the tokens; the last one may go over."""
        return math.ceil(self.tokens / self.tokens_per_step(processes))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kind = STAGES[self.kind]
        check_starts(self.starts(), self.precision)
        # Fits follow a residual stream, which a mixture of teachers has not, nor a stage without
        # one.
        if self.starts().any and (self.teachers or not kind.taught):
            raise ValueError(
                "balance, calibrate, least_squares: need one teacher's residual stream"
            )
        if self.balance_strength is not None and self.balance is None:
            raise ValueError("balance_strength without balance: say on how many tokens")
        if self.train not in kind.trains:
            raise ValueError(
                f"train = {self.train!r}: {self.kind} can train {' or '.join(sorted(kind.trains))}"
            )
        kind.check(self.objective())
        # At one process: more of them make fewer steps, and then the plan shortens the warm-up
        # itself.
        if self.warmup >= self.steps(1):
            raise ValueError(
                f"warmup = {self.warmup}: must be below the {self.steps(1)} steps that "
                f"{self.tokens} tokens make"
            )
        if self.repeats is not None:
            self.repeats.check(self.window)
        if self.schedule == "constant" and self.floor:
            raise ValueError(f"floor = {self.floor}: a constant schedule has none")
        return self

    @model_validator(mode="after")
    def _reads_what_its_kind_reads(self) -> Self:
        reads = STAGES[self.kind].reads
        if (reads != "windows") != bool(self.examples):
            said = "reads windows of data.train" if reads == "windows" else f"reads {reads}"
            raise ValueError(
                f"examples = {list(self.examples)}: {self.kind} {said}; "
                + ("leave examples out" if self.examples else "name examples to read")
            )
        if (self.kind == "gkd") != (self.samples is not None):
            raise ValueError("samples: belongs to gkd, and gkd needs it; write [stage.samples]")
        if (self.kind == "equilibrium") != (self.time_steps is not None):
            raise ValueError(
                "time_steps: belongs to equilibrium, which needs it; the paper has 100"
            )
        if (self.kind == "replace") != (self.replacing is not None):
            raise ValueError(
                "replacing: belongs to replace, and replace needs it; write [stage.replacing]"
            )
        if self.samples is not None and self.samples.tokens >= self.window:
            raise ValueError(
                f"samples.tokens = {self.samples.tokens}: must be below the window of "
                f"{self.window}, for the prompt is a part of it"
            )
        if reads != "windows" and self.repeats is not None:
            raise ValueError(f"repeats: windows of text have them, and {self.kind} reads {reads}")
        if reads == "pairs" and self.starts().any:
            raise ValueError("balance, calibrate, least_squares: need text, and dpo reads pairs")
        return self

    @model_validator(mode="after")
    def _goes_over_windows_and_blocks(self) -> Self:
        if (self.kind == "slide") != (self.span is not None):
            raise ValueError("span: belongs to slide, which needs it; 2 to 4 blocks train together")
        if self.stride is not None and self.stride > (self.span or 0):
            raise ValueError(
                f"stride = {self.stride}: must be at most the span of a stage slide, or blocks "
                "between two parts would never train"
            )
        if self.freeze is not None and self.curriculum is not None:
            raise ValueError("freeze beside curriculum: each phase would begin anew; use one")
        if self.epochs is not None and (
            STAGES[self.kind].reads != "windows" or self.curriculum is not None
        ):
            raise ValueError(
                f"epochs = {self.epochs}: of windows of text, and no curriculum says which; "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _teaching_has_an_effect(self) -> Self:
        if not STAGES[self.kind].taught and (self.teacher or self.teachers):
            raise ValueError(f"teacher, teachers: {self.kind} has no teacher; leave them out")
        vocab = [ALL_LOSSES[loss.name] for loss in self.losses]
        taught = [loss for loss in vocab if issubclass(loss, VocabLoss) and loss.uses_teacher]
        if self.mix != "uniform" and taught and all(loss.each_teacher for loss in taught):
            raise ValueError(f"mix = {self.mix!r}: multi_teacher learns the weights; leave mix out")
        named = self.curriculum is not None and self.curriculum.temperatures is not None
        if named and not any("temperature" in signature(loss).parameters for loss in taught):
            raise ValueError(
                "curriculum.temperatures: no loss of the stage has a temperature to be set; leave "
                "them out, or take kl"
            )
        return self

    @model_validator(mode="after")
    def _several_teachers_mix(self) -> Self:
        learned = [loss for loss in self.losses if ALL_LOSSES[loss.name] is MultiTeacher]
        if not self.teachers:
            if self.mix != "uniform":
                raise ValueError(f"mix = {self.mix!r}: name the stage's teachers")
            if learned:
                raise ValueError("multi_teacher weighs several teachers: name the stage's teachers")
            return self
        if self.teacher or len(set(self.teachers)) < max(2, len(self.teachers)):
            raise ValueError(
                f"teachers = {list(self.teachers)}: name two different ones or more, and no teacher"
            )
        if beyond := sorted(self.objective().teacher_needs - {"vocab"}):
            raise ValueError(f"teachers: several give logits only, no {', '.join(beyond)}")
        if isinstance(self.mix, tuple) and len(self.mix) != len(self.teachers):
            raise ValueError(f"mix = {list(self.mix)}: give one weight to each teacher")
        for loss in learned:
            count = (loss.model_extra or {}).get("teachers", 2)
            if count != len(self.teachers):
                raise ValueError(
                    f"multi_teacher.teachers = {count}: {len(self.teachers)} are named"
                )
        return self

    @model_validator(mode="after")
    def _one_rule_with_terms(self) -> Self:
        named = self._named_rules()
        if len(named) > 1:
            raise ValueError(
                f"{' beside '.join(named)}: each joins the gradients in its own way; leave one out"
            )
        for name, rule in named.items():
            if self.curriculum is not None:
                raise ValueError(f"{name} beside curriculum: a phase may drop its terms; use one")
            rule.check([loss.name for loss in self.losses])
        return self

    @model_validator(mode="after")
    def _phases_are_stages(self) -> Self:
        if self.curriculum is None:
            return self
        if self.repeats is not None:
            raise ValueError("repeats beside curriculum: it ranks windows of the texts; use one")
        if not STAGES[self.kind].ranks:
            able = " or ".join(name for name, kind in STAGES.items() if kind.ranks)
            raise ValueError(f"kind = {self.kind!r}: a curriculum ranks by logits: use {able}")
        for number, phase in enumerate(self.curriculum.phases(), start=1):
            try:
                self._in_phase(phase)
            except ValidationError as error:
                message = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"curriculum, phase {number}: {message}") from None
        return self


if TYPE_CHECKING:

    class StageTable(_Stage):
        """[[stage]], with the table of a gradient rule where it names one."""

else:
    StageTable = create_model(
        "StageTable",
        __base__=_Stage,
        **{name: (table | None, None) for name, table in RULE_TABLES.items()},
    )
