"""From the stages of a checked recipe to their plans: windows, rates, seeds, ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from accelerate import Accelerator
from torch import nn

from asnn_goose.data.loader import Pool, Subset, WindowLoader
from asnn_goose.data.mixture import MixtureLoader
from asnn_goose.data.repeats import RepeatLoader, vocabulary
from asnn_goose.data.shards import Shard
from asnn_goose.model.parts.groups import is_decay, parameter_group, trainable
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.plan import Loader, StagePlan, Starts
from asnn_goose.train.schedule import Schedule
from asnn_goose.train.stages import STAGES
from asnn_goose.train.stages.stage import Tracing
from asnn_goose.train.validation import Validation

PHASE_SEEDS = 100
"""Between the seeds of a curriculum's phases."""


@dataclass(frozen=True, kw_only=True)
class StagePlanner:
    """What the stages of a run have in common.

    shards, held_out   texts to train on, and those that validate where a stage ends by that
    """

    recipe: Recipe
    student: nn.Module
    shards: list[Shard]
    held_out: list[Shard]
    accelerator: Accelerator

    def plans(self, index: int, teacher: Tracing) -> list[StagePlan]:
        """A stage of the recipe, or the phases that its curriculum makes of it."""
        whole, seed = self.recipe.stage[index], self.recipe.stage_seed(index)
        name = self.recipe.stage_name(index)
        if whole.curriculum is None:
            return [self._plan(whole, teacher, name=name, seed=seed)]
        count = whole.curriculum.pool // whole.window
        pool = Pool(self._windows(whole, self.shards, seed=seed), count=count)
        plans = [
            self._plan(
                table,
                teacher,
                name=f"{name}.{number + 1}",
                seed=seed + PHASE_SEEDS * number,
                subset=None if share is None else Subset(pool=pool, share=share),
            )
            for number, (table, share) in enumerate(whole.phases())
        ]
        return plans[:1] + [replace(plan, starts=Starts()) for plan in plans[1:]]

    def _plan(
        self,
        table: StageTable,
        teacher: Tracing,
        *,
        name: str,
        seed: int,
        subset: Subset | None = None,
    ) -> StagePlan:
        processes = self.accelerator.num_processes
        return StagePlan(
            name=name,
            stage=STAGES[table.kind](
                student=self.student,
                teacher=teacher,
                objective=table.objective(),
                resets=self.recipe.data.resets,
            ),
            loader=self._loader(table, seed=seed, subset=subset),
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
            end=self._end(table, seed=seed),
            pool=None if subset is None else subset.pool,
        )

    def _loader(self, table: StageTable, *, seed: int, subset: Subset | None) -> Loader:
        texts = self._texts(table, seed=seed, subset=subset)
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

    def _texts(
        self, table: StageTable, *, seed: int, subset: Subset | None
    ) -> WindowLoader | MixtureLoader:
        if not self.recipe.data.weights:
            return self._windows(table, self.shards, seed=seed, subset=subset)
        return MixtureLoader(
            self.shards,
            weights=self.recipe.data.weights,
            window=table.window,
            batch=table.batch,
            seed=seed,
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
        )

    def _end(self, table: StageTable, *, seed: int) -> EndSettings | None:
        if table.end is None or table.end.by == "budget":
            return None
        validation = None
        if table.end.by == "validation":
            loader = self._windows(table, self.held_out, seed=seed)
            size = table.tokens_per_step(self.accelerator.num_processes) // table.accumulate
            validation = Validation(loader=loader, batches=math.ceil(table.end.tokens / size))
        return EndSettings(**table.end.model_dump(exclude={"tokens"}), validation=validation)


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
