"""DOT: distillation-oriented optimisation (Zhao et al., ICCV 2023, arXiv 2307.08436).

The task and the distillation terms keep a momentum each, that of distillation being longer:

    v_task = (mu - delta) v_task + g_task        v_dist = (mu + delta) v_dist + g_dist

and the parameters follow the sum. With delta = 0 this is the plain optimiser on the summed loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from asnn_goose.names import check_name
from asnn_goose.train.gradient_rule import GradientRule, RuleSettings
from asnn_goose.train.gradients import Gradients, added, check_sides, sides
from asnn_goose.train.optimiser import LOSS_GROUP, AdamSettings, Trained, groups

EPS = 1e-8


@final
@dataclass(frozen=True, kw_only=True)
class DotSettings(RuleSettings):
    """[stage.dot]: two momenta.

    delta      what the task's momentum gives to that of distillation
    task       names of the task's terms; every other term is distillation
    optimiser  a row of FORMS
    """

    name: ClassVar[str] = "dot"
    extra_passes: ClassVar[int] = 2  # one for each side
    copies: ClassVar[int] = 6  # .grad, both sides, two first moments and the second
    moments: ClassVar[int] = 3

    delta: float = 0.075
    task: tuple[str, ...] = ("ce",)
    optimiser: str = "adamw"

    def check(self, terms: Sequence[str]) -> None:
        """Raise ValueError where the terms do not make two sides."""
        check_name(FORMS, self.optimiser, setting=f"{self.name}.optimiser")
        check_sides(terms, self.task, key=self.name)

    def check_momentum(self, momentum: float) -> None:
        """Raise ValueError where delta leaves 0 to 1 around it."""
        check(delta=self.delta, momentum=momentum, form=self.optimiser)

    def start(self, trained: Sequence[Trained], adam: AdamSettings) -> GradientRule:
        """The rule itself; an objective's own parameters keep the plain momentum."""
        found = groups(trained, adam)
        for group in found:
            # A temperature or projector has no second side that could pull the other way.
            if group["name"] == LOSS_GROUP:
                group["delta"] = 0.0
        optimiser = Dot(
            found, form=self.optimiser, delta=self.delta, betas=adam.betas, eps=adam.eps
        )
        return TwoMomenta(trained, optimiser, task=self.task)


@final
class TwoMomenta(GradientRule):
    """Keeps the two sides apart for `Dot`, which alone knows what to do with them."""

    def __init__(self, trained: Sequence[Trained], optimiser: Dot, *, task: Sequence[str]) -> None:
        self._parameters = [entry.parameter for entry in trained]
        self.optimiser: Dot = optimiser
        self._task = task

    def passes(self, terms: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return sides(terms, self._task)

    def take(self, terms: Sequence[str], part: Gradients, *, scale: float) -> None:
        self.optimiser.add(self._parameters, part, task=terms[0] in self._task, scale=scale)

    def clipped(self, parameters: Sequence[nn.Parameter], factor: Tensor) -> None:
        """Clip the sides by what their sum was clipped by."""
        self.optimiser.scale(parameters, factor)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One side of a parameter's gradient, None where it does not reach the parameter."""

    name: str
    gradient: Tensor | None
    beta: float


class Dot(torch.optim.Optimizer):
    """SGD with momentum, or AdamW, over two gradients.

    "sgd"    as published; weight decay is added to the task's gradient. Gradients gain
             1 / (1 - beta): with mu = 0.9 and delta = 0.075 distillation counts seven times
             as much
    "adamw"  (ours) two first moments, each with its own bias correction, over one second moment of
             the summed gradient, decoupled weight decay. A first moment is a mean, so distillation
             gets the longer memory, not the larger gain

    Groups may set a `delta` of their own. A parameter that only one side reaches uses mu.
    Raises ValueError unless 0 <= mu - delta and mu + delta < 1.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        form: str,
        delta: float,
        betas: tuple[float, float],
        eps: float = EPS,
    ) -> None:
        check(delta=delta, momentum=betas[0], form=form)
        super().__init__(
            groups, {"lr": 0.0, "delta": delta, "betas": betas, "weight_decay": 0.0, "eps": eps}
        )
        self._rule = FORMS[form]
        self._sides: dict[Tensor, list[Tensor | None]] = {}

    def add(
        self,
        parameters: Sequence[nn.Parameter],
        part: Gradients,
        *,
        task: bool,
        scale: float,
    ) -> None:
        """Add a gradient to one side, and to .grad, which is the sum of the two."""
        for parameter, gradient in zip(parameters, part, strict=True):
            if gradient is not None:
                both = self._sides.setdefault(parameter, [None, None])
                both[not task] = added(both[not task], gradient * scale)
                parameter.grad = added(parameter.grad, gradient * scale)

    def scale(self, parameters: Sequence[nn.Parameter], factor: Tensor) -> None:
        """Multiply both sides as .grad was when it was clipped."""
        for parameter in parameters:
            for side in self._sides.get(parameter, ()):
                if side is not None:
                    side.mul_(factor)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients and their sides."""
        super().zero_grad(set_to_none=True)
        self._sides.clear()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step over the gradients that were added since `zero_grad`."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self._sides:
                    parts = self._parts(parameter, group)
                    self._rule(parameter, self.state[parameter], parts, group)

    def _parts(self, parameter: Tensor, group: dict[str, Any]) -> list[_Part]:
        task, rest = self._sides[parameter]
        momentum, delta = group["betas"][0], group["delta"]
        # With one side there is nothing to trade momentum with; a parameter that only distillation
        # reaches would merely get a longer memory than the recipe asked for.
        if task is None or rest is None:
            delta = 0.0
        return [
            _Part(name="task", gradient=task, beta=momentum - delta),
            _Part(name="rest", gradient=rest, beta=momentum + delta),
        ]


def check(*, delta: float, momentum: float, form: str) -> None:
    """Raise ValueError where the settings make no optimiser."""
    check_name(FORMS, form, setting="optimiser")
    # The task's momentum must not fall below 0, nor distillation's reach 1 and never forget.
    if not 0 <= delta <= momentum or momentum + delta >= 1:
        most = min(momentum, 1 - momentum)
        raise ValueError(
            f"delta = {delta}: must be at least 0 and below {most:.3g}, for the momentum is "
            f"{momentum}"
        )


def _buffer(state: dict[str, Any], name: str, like: Tensor) -> Tensor:
    if name not in state:
        state[name] = torch.zeros_like(like)
    buffer: Tensor = state[name]
    return buffer


def _sgd(
    parameter: Tensor, state: dict[str, Any], parts: list[_Part], group: dict[str, Any]
) -> None:
    # Once, not per side: decay is a pull of its own and must not double where both sides come.
    decayed = next(part.name for part in parts if part.gradient is not None)
    for part in parts:
        key = f"velocity_{part.name}"
        if part.gradient is None and key not in state:
            continue
        velocity = _buffer(state, key, parameter).mul_(part.beta)
        if part.gradient is not None:
            velocity.add_(part.gradient)
        if part.name == decayed:
            velocity.add_(parameter, alpha=group["weight_decay"])
    for part in parts:
        if f"velocity_{part.name}" in state:
            parameter.add_(state[f"velocity_{part.name}"], alpha=-group["lr"])


def _adamw(
    parameter: Tensor, state: dict[str, Any], parts: list[_Part], group: dict[str, Any]
) -> None:
    gradient, beta2 = parameter.grad, group["betas"][1]
    assert gradient is not None
    state["step"] = state.get("step", torch.zeros(())) + 1
    steps = float(state["step"])
    second = _buffer(state, "second", parameter)
    # One second moment, of the sum: it says how large steps are here, whichever side they come
    # from.
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    size = second.sqrt().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
    # Decoupled and before the step, as torch's AdamW has it.
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    for part in parts:
        key = f"first_{part.name}"
        if part.gradient is None and key not in state:
            continue
        first = _buffer(state, key, parameter).mul_(part.beta)
        if part.gradient is not None:
            first.add_(part.gradient, alpha=1 - part.beta)
        parameter.addcdiv_(first, size, value=-group["lr"] / (1 - part.beta**steps))


FORMS: dict[str, Callable[[Tensor, dict[str, Any], list[_Part], dict[str, Any]], None]] = {
    "adamw": _adamw,
    "sgd": _sgd,
}
