from __future__ import annotations

import pytest
import torch
from torch import nn

from asnn_goose.train import optimiser
from asnn_goose.train.dot import Dot, DotSettings
from asnn_goose.train.optimiser import AdamSettings, Trained

ADAM = AdamSettings(scales={}, betas=(0.9, 0.95), weight_decay=0.1)


def pair() -> list[Trained]:
    torch.manual_seed(0)
    return [Trained(f"p.{g}", g, nn.Parameter(torch.randn(4, 4))) for g in ("matrix", "norm")]


def gradients(seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return tuple([torch.randn(4, 4, generator=generator) for _ in range(2)] for _ in range(2))  # type: ignore[return-value]


def dot(trained: list[Trained], form: str, delta: float) -> Dot:
    found = DotSettings(delta=delta, optimiser=form).start(trained, ADAM).optimiser
    optimiser.set_rate(found, 0.05)
    assert isinstance(found, Dot)
    return found


def plain(trained: list[Trained], form: str) -> torch.optim.Optimizer:
    if form == "adamw":
        found = optimiser.adamw(trained, ADAM)
        optimiser.set_rate(found, 0.05)
        return found
    groups = [
        {"params": [e.parameter], "weight_decay": 0.1 * (e.group == "matrix")} for e in trained
    ]
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9)


@pytest.mark.parametrize("form", ["sgd", "adamw"])
def test_without_delta_it_is_the_plain_optimiser_on_the_sum(form: str) -> None:
    one, other = pair(), pair()
    first, second = dot(one, form, 0.0), plain(other, form)
    for seed in range(5):
        task, rest = gradients(seed)
        first.zero_grad()
        first.add([e.parameter for e in one], list(task), task=True, scale=1.0)
        first.add([e.parameter for e in one], list(rest), task=False, scale=1.0)
        for entry, a, b in zip(other, task, rest, strict=True):
            entry.parameter.grad = a + b
        first.step()
        second.step()
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.parameter, b.parameter)


def moved(delta: float, task: float | None, rest: float | None, steps: int = 400) -> float:
    parameter = nn.Parameter(torch.zeros(1))
    found = Dot([{"params": [parameter]}], form="sgd", delta=delta, betas=(0.9, 0.99))
    for _ in range(steps):
        found.zero_grad()
        for side, value in ((True, task), (False, rest)):
            part = None if value is None else torch.full((1,), value)
            found.add([parameter], [part], task=side, scale=1.0)
        before = float(parameter.detach())
        found.param_groups[0]["lr"] = 1.0
        found.step()
    return before - float(parameter.detach())


def test_distillation_gains_seven_times_what_the_task_gains() -> None:
    assert moved(0.075, 0.0, 1.0) / moved(0.075, 1.0, 0.0) == pytest.approx(7, rel=1e-3)


def test_a_parameter_of_one_side_keeps_the_plain_momentum() -> None:
    assert moved(0.075, None, 1.0) == pytest.approx(10, rel=1e-3)
    assert moved(0.075, 1.0, None) == pytest.approx(10, rel=1e-3)


def test_a_loss_of_its_own_parameters_has_no_delta() -> None:
    loss = Trained("objective.x", "loss", nn.Parameter(torch.zeros(1)))
    found = dot([*pair(), loss], "adamw", 0.05)
    assert {group["name"]: group["delta"] for group in found.param_groups}["loss"] == 0.0


@pytest.mark.parametrize("delta", [-0.1, 0.1, 0.95])
def test_momenta_outside_their_range_are_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="delta = "):
        Dot([{"params": [nn.Parameter(torch.zeros(1))]}], form="sgd", delta=delta, betas=(0.9, 0.9))


def test_the_adamw_form_is_two_means_over_one_second_moment() -> None:
    """Two first moments with their own bias corrections; written out by hand."""
    mu, delta, beta2, rate = 0.9, 0.075, 0.95, 0.05
    trained = pair()[:1]
    parameter = trained[0].parameter
    found = DotSettings(delta=delta).start(trained, ADAM).optimiser
    optimiser.set_rate(found, rate)
    assert isinstance(found, Dot)
    wanted, second = parameter.detach().clone(), torch.zeros(4, 4)
    firsts = [torch.zeros(4, 4), torch.zeros(4, 4)]
    for step in range(1, 5):
        sides = [side[0] for side in gradients(step)]
        found.zero_grad()
        for task, part in zip((True, False), sides, strict=True):
            found.add([parameter], [part], task=task, scale=1.0)
        found.step()
        second = beta2 * second + (1 - beta2) * (sides[0] + sides[1]) ** 2
        size = (second / (1 - beta2**step)).sqrt() + 1e-8
        wanted = wanted * (1 - rate * 0.1)
        for number, beta in enumerate((mu - delta, mu + delta)):
            firsts[number] = beta * firsts[number] + (1 - beta) * sides[number]
            wanted = wanted - rate * firsts[number] / (1 - beta**step) / size
    torch.testing.assert_close(parameter.detach(), wanted)


def test_sides_are_scaled_and_clipped_as_their_sum_is() -> None:
    trained = pair()
    parameters = [entry.parameter for entry in trained]
    rules = [DotSettings(optimiser="sgd").start(t, ADAM) for t in (trained, pair())]
    task, rest = (list(side) for side in gradients(0))
    for rule, factor in zip(rules, (0.5, 1.0), strict=True):
        rule.begin(1)
        optimiser.set_rate(rule.optimiser, 1.0)
        for terms, part in ((["ce"], task), (["kl"], rest)):
            rule.take(terms, [g * 1.0 for g in part], scale=0.25 / factor)
    rules[0].clipped(parameters, torch.tensor(0.5))
    for rule in rules:
        rule.optimiser.step()
    others = rules[1].optimiser.param_groups
    for entry, group in zip(trained, others, strict=True):
        torch.testing.assert_close(entry.parameter, group["params"][0])
