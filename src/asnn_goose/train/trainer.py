"""One stage being trained: optimiser, gradients, guard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor, nn

from asnn_goose.data.pair_batches import PairBatch
from asnn_goose.model.parts.projection import held_codes
from asnn_goose.trace import Batch
from asnn_goose.train import first_batch, gradient_norm, gradients, not_finite, optimiser
from asnn_goose.train.averaging import Average
from asnn_goose.train.early_stopping import Ending
from asnn_goose.train.freezing import Freezing
from asnn_goose.train.gradient_monitor import Watched, Watchman
from asnn_goose.train.gradient_rule import GradientRule
from asnn_goose.train.optimiser import LOSS_GROUP, AdamSettings, Trained
from asnn_goose.train.plan import RunSettings, StagePlan
from asnn_goose.train.sharded_stage import ShardedStage
from asnn_goose.train.step_counts import StepCounts
from asnn_goose.train.together import agree
from asnn_goose.train.validation import Validation, held_out


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Loss terms (mean over micro-batches and processes), rate and gradient norm of a step.

    readings, watch  as in progress.StepInfo
    warnings         what the watchman has to say
    ended            True where the stage ends here, before its budget is used up
    """

    terms: dict[str, float]
    lr: float
    grad_norm: float
    readings: dict[str, float] = field(default_factory=dict)
    watch: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    ended: bool = False


class WithHead(Protocol):
    """A student as Transformers knows it."""

    def get_output_embeddings(self) -> nn.Linear:
        """Its head."""


SEEDS = 1 << 32
"""Draws of a stage's micro-batches are apart from those of any other stage's."""


class NotFiniteError(Exception):
    """A step went wrong and was not applied; the message names the tensor."""


class StageTrainer:
    """Trains one stage. Freezes what the stage does not train, seeds, wraps with accelerate."""

    def __init__(self, plan: StagePlan, *, settings: RunSettings, accelerator: Accelerator) -> None:
        self.plan = plan
        self._settings = settings
        self._accelerator = accelerator
        # Seeded by stage: that a stage before it drew more or fewer numbers must not change this
        # one.
        set_seed(plan.seed, device_specific=True)
        objective = plan.stage.objective
        # Projectors, gates and heads first: what is made after the optimiser would never train.
        plan.stage.introduce()
        if objective.wants_head:
            objective.adopt(cast(WithHead, plan.stage.student).get_output_embeddings().weight)
        self._parts = ShardedStage(plan.stage, accelerator) if settings.shard else None
        self.trained = _choose_trained(plan)
        self._counts = StepCounts(plan.stage, accelerator)
        self._measuring = list(plan.stage.modules())
        self._parameters = [entry.parameter for entry in self.trained]
        plan.stage.train()
        accelerator.gradient_accumulation_steps = plan.accumulate
        # A term may not reach every parameter: gates that stand still, a loss on some matrices.
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._module = plan.stage if self._parts else accelerator.prepare(plan.stage)
        self.rule: GradientRule = plan.rule.start(self.trained, _adam(plan, settings))
        self.optimiser = self.rule.optimiser
        self.watched: Watched | None = None
        if plan.watch is not None:
            watchman = Watchman(plan.watch, objective)
            self.rule = self.watched = Watched(self.rule, watchman, self.trained)
        self.ending = None if plan.end is None else Ending(plan.end)
        self._average: Average | None = None
        if plan.average is not None:
            self._average = Average(plan.average, self.trained, self.optimiser)
        self._freezing: Freezing | None = None
        if plan.freeze is not None:
            student = plan.stage.student
            self._freezing = Freezing(plan.freeze, self.trained, self.optimiser, student)

    def step(self, number: int) -> StepResult:
        """Optimiser step `number` of the stage, counted from 0.

        Raises NotFiniteError, with the parameters as they were, where the loss or a gradient is
        not finite.
        """
        before = self._before() if number == 0 else {}
        rate = self.plan.lr * self.plan.schedule.factor(number)
        optimiser.set_rate(self.optimiser, rate)
        self.rule.begin(number + 1)
        if self._parts is not None:
            self._parts.equalise()
        batches = [self._batch(number) for _ in range(self.plan.accumulate)]
        terms = self._accumulate(number, batches)
        if self._freezing is not None:
            self._freezing.stop()
        norms = gradient_norm.norms(self.trained, by=self._settings.clip_by)
        norm = float(gradient_norm.total(norms))
        # All processes stop together, or those with finite numbers would wait for the others for
        # ever.
        if agree(self._accelerator, not math.isfinite(sum(terms.values()) + norm)):
            with self._autocast():  # the step runs again, and in no other precision
                found = not_finite.culprit(
                    self.plan.stage, trained=self.trained, batches=batches, terms=terms
                )
            raise NotFiniteError(found)
        self._clip(norms)
        self._take(number)
        stage = self.plan.stage
        readings = stage.objective.readings() | self.rule.readings() | stage.readings() | before
        readings |= {} if self._freezing is None else self._freezing.readings()
        warnings = [] if self.watched is None else self.watched.look(terms, readings)
        ended = self._look(number + 1, sum(terms.values()), readings)
        return StepResult(
            terms=terms,
            lr=rate,
            grad_norm=norm,
            readings=readings,
            watch=None if self.watched is None else self.watched.record,
            warnings=warnings,
            ended=ended,
        )

    def _take(self, number: int) -> None:
        """Let the optimiser take step `number`, with all that follows the weights."""
        if self._freezing is None:
            self.optimiser.step()
        else:
            self._freezing.step(number, steps=self.plan.steps)
        self._counts.settle()
        if self._average is not None:
            self._average.follow(number, steps=self.plan.steps)

    def _clip(self, norms: dict[str, Tensor]) -> None:
        most, by = self._settings.clip, self._settings.clip_by
        gradient_norm.clip(self.trained, norms, most=most, by=by)
        for name, parameters in gradient_norm.members(self.trained, by=by).items():
            self.rule.clipped(parameters, gradient_norm.factor(norms[name], most))

    def _before(self) -> dict[str, float]:
        """What is held out as the stage finds it, where the stage looks at it."""
        validation = None if self.ending is None else self.ending.settings.validation
        parts = {} if validation is None else self._measured(validation)
        return {f"before.{name}": value for name, value in parts.items() if math.isfinite(value)}

    def _measured(self, validation: Validation) -> dict[str, float]:
        with self._autocast():
            return validation.measure(self.plan.stage, self._accelerator)

    def _look(self, step: int, loss: float, readings: dict[str, float]) -> bool:
        """Whether the stage ends after a step; a held-out loss joins the readings."""
        ending = self.ending
        if ending is None:
            return False
        ending.see(loss)
        if not ending.due(step):
            return False
        validation = ending.settings.validation
        if validation is None:
            return ending.look(ending.smoothed)
        parts = self._measured(validation)
        found = held_out(parts)
        if math.isfinite(found):
            readings["validation"] = found
            readings |= {f"validation.{name}": value for name, value in parts.items()}
        return ending.look(found)

    def _batch(self, number: int) -> Batch | PairBatch:
        # The same for all micro-batches of a step, whichever process has them.
        done = number / self.plan.steps
        return self.plan.loader.next(self.plan.clock.at(done)).to(self._accelerator.device)

    def _accumulate(self, number: int, batches: Sequence[Batch | PairBatch]) -> dict[str, float]:
        """Add up the gradients of the micro-batches; returns the mean of each loss term."""
        sums: dict[str, Tensor] = {}
        with held_codes(self.plan.stage.student, used=len(batches) > 1):
            for micro, batch in enumerate(batches, start=number * len(batches)):
                # Gradients are exchanged with the last micro-batch alone; before it each process
                # adds up its own.
                with self._accelerator.accumulate(self._module):
                    terms = self._backward(batch, micro)
                self._counts.add()
                for name, term in terms.items():
                    sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach()
        self.rule.join()
        means = torch.stack(list(sums.values())) / len(batches)
        # One exchange and one wait for all terms.
        reduced = self._accelerator.reduce(means, "mean").tolist()
        return dict(zip(sums, reduced, strict=True))

    def _backward(self, batch: Batch | PairBatch, micro: int) -> dict[str, Tensor]:
        """Forward, and the backward passes that the rule wants; gives the terms.

        micro  number of the micro-batch in the stage, of this process's
        """
        objective = self.plan.stage.objective
        passes = self.rule.passes(list(objective.losses))
        if not passes:
            terms = self._forward(batch, micro)
            self._accelerator.backward(torch.stack(list(terms.values())).sum())
            return terms
        # Around the forward: terms over the vocabulary take their gradients there, while logits
        # exist.
        with gradients.kept_apart(objective, passes.values()):
            terms = self._forward(batch, micro)
        parts = gradients.apart(terms, passes, self._parameters)
        for name, part in parts.items():
            self.rule.take(passes[name], part, scale=1 / self.plan.accumulate)
        return terms

    def _forward(self, batch: Batch | PairBatch, micro: int) -> dict[str, Tensor]:
        if self._accelerator.num_processes == 1:
            return self._pass(batch, micro)
        before = self._measuring = first_batch.waiting(self._measuring)
        terms = self._pass(batch, micro)
        if before and first_batch.share(before, self._accelerator):
            self._counts.forget()
            return self._pass(batch, micro)
        return terms

    def _pass(self, batch: Batch | PairBatch, micro: int) -> dict[str, Tensor]:
        # What a pass draws hangs on its place among all batches, not on who has it.
        place = micro * self._accelerator.num_processes + self._accelerator.process_index
        torch.manual_seed(self.plan.seed * SEEDS + place)
        with self._autocast():
            terms: dict[str, Tensor] = self._module(batch)
        return terms

    def _autocast(self) -> torch.autocast:
        bf16 = self._settings.precision == "bf16"
        return torch.autocast(self._accelerator.device.type, torch.bfloat16, enabled=bf16)

    def state(self) -> dict[str, Any]:
        """What the watchman and the ending remember, as JSON can hold it."""
        watchman = None if self.watched is None else self.watched.watchman
        found = {"watch": watchman, "end": self.ending}
        return {name: part.state() for name, part in found.items() if part is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""
        if self.watched is not None:
            self.watched.watchman.restore(state["watch"])
        if self.ending is not None:
            self.ending.restore(state["end"])

    def close(self) -> None:
        """End the stage: its mean weights if it has any; accelerate's references are dropped."""
        if self._average is not None:
            self._average.adopt()
        if self._freezing is not None:
            self._freezing.settle()
        if self._parts is not None:
            self._parts.gather()
        self.plan.stage.finish()
        self._accelerator.clear()


def _adam(plan: StagePlan, settings: RunSettings) -> AdamSettings:
    return AdamSettings(
        scales=plan.lr_scale,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        eps=settings.eps,
    )


def _choose_trained(plan: StagePlan) -> list[Trained]:
    """Freeze the student but for what the plan trains; the objective trains whole."""
    trained, groups = [], plan.trained()
    for name, parameter in plan.stage.student.named_parameters():
        # Frozen parameters must not even collect a gradient: it would be as large as they are.
        parameter.requires_grad_(name in groups)
        if name in groups:
            trained.append(Trained(f"student.{name}", groups[name], parameter))
    own = plan.stage.objective.named_parameters()
    return trained + [Trained(f"objective.{name}", LOSS_GROUP, p) for name, p in own]
