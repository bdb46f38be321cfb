"""From the stages of a checked recipe to their plans: windows, rates, seeds, ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from accelerate import Accelerator
from torch import nn

from asnn_goose.data.again import Again
from asnn_goose.data.loader import Pool, Subset, WindowLoader
from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.data.repeats import RepeatLoader, vocabulary
from asnn_goose.data.shards import Shard
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.parts.groups import is_decay, parameter_group, trainable
from asnn_goose.recipe.clocks import annealing, phase_clocks
from asnn_goose.recipe.example_plans import ExamplePlanner
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.plan import Loader, StagePlan, Starts
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.span import WHOLE, Span
from asnn_goose.train.stages import STAGES, Stage
from asnn_goose.train.stages.slide import parts_of
from asnn_goose.train.stages.stage import Tracing
from asnn_goose.train.validation import Validation

PHASE_SEEDS = 100
"""Between the seeds of a curriculum's phases."""


@dataclass(frozen=True, kw_only=True)
class StagePlanner:
    """What the stages of a run have in common.

    shards, held_out   texts to train on, and those that validate where a stage ends by that
    examples           for stages that read examples; None where none does
    """

    recipe: Recipe
    student: nn.Module
    shards: list[Shard]
    held_out: list[Shard]
    accelerator: Accelerator
    examples: ExamplePlanner | None = None

    def plans(self, index: int, teacher: Tracing) -> list[StagePlan]:
        """A stage of the recipe, or the phases that its curriculum makes of it."""
        whole, seed = self.recipe.stage[index], self.recipe.stage_seed(index)
        name = self.recipe.stage_name(index)
        processes = self.accelerator.num_processes
        anneals = annealing(self.recipe, processes)[index]
        if whole.curriculum is None:
            return [self._plan(whole, teacher, name=name, seed=seed, anneals=anneals)]
        count = whole.curriculum.pool // whole.window
        # One pool for all phases: they take ever more of the same windows, in one order.
        pool = Pool(self._windows(whole, self.shards, seed=seed), count=count)
        plans = [
            self._plan(
                table,
                teacher,
                name=f"{name}.{number + 1}",
                # Apart, or every phase would permute its windows alike.
                seed=seed + PHASE_SEEDS * number,
                anneals=anneals,
                clock=clock,
                subset=None if share is None else Subset(pool=pool, share=share),
            )
            for number, ((table, share), clock) in enumerate(
                zip(whole.phases(), phase_clocks(whole, processes), strict=True)
            )
        ]
        # Only the first phase fits anything: the later ones go on from what it has trained.
        return plans[:1] + [replace(plan, starts=Starts()) for plan in plans[1:]]

    def _plan(
        self,
        table: StageTable,
        teacher: Tracing,
        *,
        name: str,
        seed: int,
        anneals: Span,
        clock: Span = WHOLE,
        subset: Subset | None = None,
    ) -> StagePlan:
        processes = self.accelerator.num_processes
        loader = self._loader(table, name=name, seed=seed, subset=subset)
        end = self._end(table, seed=seed)
        held_out = None if end is None or end.validation is None else end.validation.loader
        examples = self.examples
        return StagePlan(
            name=name,
            stage=self._stage(table, teacher, anneals=anneals),
            loader=loader,
            # Asked later: a stage's precision makes and drops parameters when it begins.
            trained=partial(
                _groups, self.student, table.train, decays=table.lr_scale.decay is not None
            ),
            accumulate=table.accumulate,
            tokens_per_step=table.tokens_per_step(processes),
            lr=table.lr,
            lr_scale=table.lr_scale.model_dump(exclude_none=True),
            schedule=_schedule(table, processes),
            seed=seed,
            precision=table.precision,
            starts=table.starts(),
            rule=table.rule(),
            watch=None if table.watch is None else table.watch.settings(),
            end=end,
            average=None if table.average is None else table.average.settings(),
            freeze=None if table.freeze is None else table.freeze.settings(),
            pool=None if subset is None else subset.pool,
            clock=clock,
            reference=None if examples is None else examples.reference(table, loader, held_out),
        )

    def _stage(self, table: StageTable, teacher: Tracing, *, anneals: Span) -> Stage:
        samples = None if self.examples is None else self.examples.samples(table)
        replacing = None if table.replacing is None else table.replacing.settings()
        own: dict[str, Any] = {
            "samples": samples,
            "steps": table.time_steps,
            "span": table.span,
            "stride": table.stride,
            "replacing": replacing,
        }
        return STAGES[table.kind](
            student=self.student,
            teacher=teacher,
            objective=table.objective(),
            resets=self.recipe.data.resets,
            anneals=anneals,
            **{key: value for key, value in own.items() if value is not None},
        )

    def _loader(self, table: StageTable, *, name: str, seed: int, subset: Subset | None) -> Loader:
        if self.examples is not None and table.examples:
            batches = table.steps(self.accelerator.num_processes) * table.accumulate
            return self.examples.loader(table, seed=seed, split="train", batches=batches, name=name)
        texts = self._again(table, self._texts(table, seed=seed, subset=subset))
        if table.repeats is None:
            return texts
        return RepeatLoader(
            texts,
            table.repeats.settings(),
            words_W=vocabulary(self.shards),
            seed=seed,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )

    def _again(
        self, table: StageTable, texts: WindowLoader | MixtureLoader
    ) -> WindowLoader | MixtureLoader | Again:
        """The texts, or where the stage has epochs so many of their batches as fill one."""
        if table.epochs is None:
            return texts
        blocks = len(cast(GooseForCausalLM, self.student).blocks)
        span, stride = table.span or blocks, table.stride or 1
        passes = table.epochs * parts_of(blocks, span=span, stride=stride)
        batches = table.steps(self.accelerator.num_processes) * table.accumulate
        return Again(texts, batches=max(1, round(batches / passes)))

    def _texts(
        self, table: StageTable, *, seed: int, subset: Subset | None
    ) -> WindowLoader | MixtureLoader:
        if self._fixed:  # one order for all stages, so that they read the same windows first
            seed = table.seed or 0
        if not self.recipe.data.weights:
            return self._windows(table, self.shards, seed=seed, subset=subset)
        return MixtureLoader(
            self.shards,
            weights=self.recipe.data.weights,
            window=table.window,
            batch=table.batch,
            seed=seed,
            fixed=self._fixed,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )

    def _windows(
        self, table: StageTable, shards: list[Shard], *, seed: int, subset: Subset | None = None
    ) -> WindowLoader:
        return WindowLoader(
            shards,
            window=table.window,
            batch=table.batch,
            seed=seed,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            subset=subset,
            fixed=self._fixed,
        )

    @property
    def _fixed(self) -> bool:
        return self.recipe.data.windows == "fixed"

    def _end(self, table: StageTable, *, seed: int) -> EndSettings | None:
        if table.end is None or table.end.by == "budget":
            return None
        validation = None
        if table.end.by == "validation":
            size = table.tokens_per_step(self.accelerator.num_processes) // table.accumulate
            batches = math.ceil(table.end.tokens / size)
            loader = self._held_out(table, seed=seed, batches=batches)
            validation = Validation(loader=loader, batches=batches)
        return EndSettings(**table.end.model_dump(exclude={"tokens"}), validation=validation)

    def _held_out(self, table: StageTable, *, seed: int, batches: int) -> Loader:
        if self.examples is not None and table.examples:
            return self.examples.loader(table, seed=seed, split="validation", batches=batches)
        return self._windows(table, self.held_out, seed=seed)


def _groups(student: nn.Module, train: str, *, decays: bool) -> dict[str, str]:
    """Optimiser group of everything that trains; decays have one of their own where asked for."""
    groups = {name: parameter_group(name) for name in trainable(student, train)}
    own = {name: "decay" for name in groups if decays and is_decay(name)}
    return groups | own


def _schedule(table: StageTable, processes: int) -> Schedule:
    steps = table.steps(processes)
    return Schedule(
        shape=table.schedule, steps=steps, warmup=min(table.warmup, steps - 1), floor=table.floor
    )
