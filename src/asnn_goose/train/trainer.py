"""One stage being trained: optimiser, gradients, guard."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from asnn_goose.trace import Batch
from asnn_goose.train import guard, optimiser
from asnn_goose.train.optimiser import Trained
from asnn_goose.train.plan import RunSettings, StagePlan

LOSS_GROUP = "loss"
"""Optimiser group of an objective's own parameters."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Loss terms (mean over micro-batches and processes), rate and gradient norm of a step."""

    terms: dict[str, float]
    lr: float
    grad_norm: float


class NotFiniteError(Exception):
    """A step went wrong and was not applied; the message names the tensor."""


class StageTrainer:
    """Trains one stage. Freezes what the stage does not train, seeds, wraps with accelerate."""

    def __init__(self, plan: StagePlan, *, settings: RunSettings, accelerator: Accelerator) -> None:
        self.plan = plan
        self._settings = settings
        self._accelerator = accelerator
        set_seed(plan.seed, device_specific=True)
        self.trained = _choose_trained(plan)
        plan.stage.train()
        accelerator.gradient_accumulation_steps = plan.accumulate
        self._module = accelerator.prepare(plan.stage)
        self.optimiser = optimiser.adamw(
            self.trained,
            scales=plan.lr_scale,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )

    def step(self, number: int) -> StepResult:
        """Optimiser step `number` of the stage, counted from 0.

        Raises NotFiniteError, with the parameters as they were, where the loss or a gradient is
        not finite.
        """
        rate = self.plan.lr * self.plan.schedule.factor(number)
        optimiser.set_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        batches = [self._batch(number, micro) for micro in range(self.plan.accumulate)]
        terms = self._accumulate(batches)
        gradients = [e.parameter.grad for e in self.trained if e.parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if agree(self._accelerator, not math.isfinite(sum(terms.values()) + float(norm))):
            raise NotFiniteError(
                guard.culprit(self.plan.stage, trained=self.trained, batches=batches, terms=terms)
            )
        parameters = [entry.parameter for entry in self.trained]
        torch.nn.utils.clip_grads_with_norm_(parameters, self._settings.clip, norm)
        self.optimiser.step()
        return StepResult(terms=terms, lr=rate, grad_norm=float(norm))

    def _batch(self, number: int, micro: int) -> Batch:
        done = (number * self.plan.accumulate + micro) / (self.plan.steps * self.plan.accumulate)
        return self.plan.loader.next(done).to(self._accelerator.device)

    def _accumulate(self, batches: list[Batch]) -> dict[str, float]:
        """Add up the gradients of the micro-batches; returns the mean of each loss term."""
        sums: dict[str, Tensor] = {}
        for batch in batches:
            with self._accelerator.accumulate(self._module):
                terms = self._forward(batch)
                self._accelerator.backward(torch.stack(list(terms.values())).sum())
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach()
        means = torch.stack(list(sums.values())) / len(batches)
        return dict(zip(sums, self._accelerator.reduce(means, "mean").tolist(), strict=True))

    def _forward(self, batch: Batch) -> dict[str, Tensor]:
        device = self._accelerator.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._settings.precision == "bf16"):
            terms: dict[str, Tensor] = self._module(batch)
        return terms

    def close(self) -> None:
        """Drop accelerate's references, so that the next stage can be wrapped."""
        self._accelerator.clear()


def _choose_trained(plan: StagePlan) -> list[Trained]:
    """Freeze the student but for what the plan trains; the objective trains whole."""
    trained, groups = [], plan.trained()
    for name, parameter in plan.stage.student.named_parameters():
        parameter.requires_grad_(name in groups)
        if name in groups:
            trained.append(Trained(f"student.{name}", groups[name], parameter))
    own = plan.stage.objective.named_parameters()
    return trained + [Trained(f"objective.{name}", LOSS_GROUP, p) for name, p in own]


def agree(accelerator: Accelerator, flag: bool) -> bool:
    """True on every process where `flag` is true on any."""
    if accelerator.num_processes == 1:
        return flag
    counted = torch.tensor(float(flag), device=accelerator.device)
    return bool(accelerator.reduce(counted, "sum") > 0)
