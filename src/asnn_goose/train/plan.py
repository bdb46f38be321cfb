"""What a run is made of: plain objects, no names that still have to be looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator
from torch import nn

from asnn_goose.data.loader import Pool
from asnn_goose.data.pair_batches import PairBatch
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.trace import Batch
from asnn_goose.train.averaging import AverageSettings
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.freezing import FreezeSettings
from asnn_goose.train.gradient_monitor import WatchSettings
from asnn_goose.train.gradient_rule import RuleSettings, SumSettings
from asnn_goose.train.reference import Reference
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.span import WHOLE, Span
from asnn_goose.train.stages import Stage


class Loader(Protocol):
    """Endless source of batches whose position can be saved; alike on every process."""

    def next(self, progress: float) -> Batch | PairBatch:
        """The next micro-batch, of what its stage reads."""

    def state(self) -> dict[str, int]:
        """Position in the data."""

    def restore(self, state: dict[str, int]) -> None:
        """Go to a position that `state` gave."""


class Saveable(Protocol):
    """A model or tokenizer of Transformers."""

    def save_pretrained(self, save_directory: Path) -> object:
        """Write itself into a folder."""


class Precise(Protocol):
    """A student whose precision can change between stages."""

    def set_precision(self, precision: PrecisionTable) -> None:
        """Take another precision; a second call with the same one changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Tokens on which parts of a student are fitted before training, in this order; 0: not.

    balance        channels against the columns that read them, as `balance_strength` says
    least_squares  the output projections
    calibrate      the codes and scales of ternary weights
    """

    balance: int = 0
    balance_strength: float = 0.5
    least_squares: int = 0
    calibrate: int = 0

    @property
    def any(self) -> bool:
        """Whether anything is fitted."""
        return bool(self.balance or self.least_squares or self.calibrate)


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage of a run.

    name             unique within the run
    stage            student, teacher and objective: batch -> named loss terms
    loader           where the batches come from
    trained          gives names of the student's parameters that train -> their optimiser group,
                     once the stage's precision holds
    precision        what the student's precision becomes when the stage begins; None: stays
    starts           what is then fitted before the first step
    accumulate       micro-batches in an optimiser step, on each process
    tokens_per_step  over all processes and micro-batches
    lr, lr_scale     peak rate, and factors on it by optimiser group
    schedule         rate over the steps; it also says how many steps there are
    seed             of everything random in this stage but the data order
    rule             how the gradients of the terms become a step
    watch            look at each term's gradient now and then
    end              end before the budget is used up
    average          end with the mean of the weights over the last steps
    freeze           ternary weights that keep their code from some step on
    pool             windows that must be in order when the stage begins (a curriculum)
    reference        what the student gives to pairs of answers when the stage begins
    clock            the part of its losses' clock that the stage covers: phases of a curriculum
                     share one, and what their losses have learned
    """

    name: str
    stage: Stage
    loader: Loader
    trained: Callable[[], Mapping[str, str]]
    accumulate: int
    tokens_per_step: int
    lr: float
    lr_scale: Mapping[str, float]
    schedule: Schedule
    seed: int
    precision: PrecisionTable | None = None
    starts: Starts = Starts()
    rule: RuleSettings = field(default_factory=SumSettings)
    watch: WatchSettings | None = None
    end: EndSettings | None = None
    average: AverageSettings | None = None
    freeze: FreezeSettings | None = None
    pool: Pool | None = None
    reference: Reference | None = None
    clock: Span = WHOLE

    @property
    def goes_on(self) -> bool:
        """Whether it takes over what the losses of the stage before it have learned."""
        return self.clock.start > 0

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.schedule.steps

    @property
    def tokens(self) -> int:
        """Training tokens, all processes."""
        return self.steps * self.tokens_per_step


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What holds for every stage.

    threads             of torch on a CPU; None leaves torch's own choice
    precision           "fp32", or "bf16" for autocast around the forward pass
    clip                largest 2-norm of the gradient; infinite for none
    clip_by             "all" gradients together, or each optimiser "group" alone
    betas, eps, weight_decay AdamW; the decay falls on weight matrices only
    shard               every process holds a part of the student and of its teachers' blocks
    checkpoint_minutes  time between checkpoints; every stage end has one anyway
    keep                checkpoints that stay on the disk, at least 2; one once the run is finished
    log_every           optimiser steps between lines of metrics.jsonl
    """

    threads: int | None = None
    precision: str = "fp32"
    clip: float = 1.0
    clip_by: str = "all"
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    shard: bool = False
    checkpoint_minutes: float = 5.0
    keep: int = 2
    log_every: int = 1


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A whole run.

    student      the model that all stages train
    tokenizer    goes into the run's model/ folder beside the student
    identity     settings that a resumed run must share with the one it continues
    recipe_toml  the resolved recipe, kept in the run folder
    """

    student: nn.Module
    tokenizer: Saveable
    stages: tuple[StagePlan, ...]
    settings: RunSettings
    identity: Mapping[str, str]
    accelerator: Accelerator
    recipe_toml: str

    @property
    def tokens(self) -> int:
        """Training tokens of all stages."""
        return sum(stage.tokens for stage in self.stages)
