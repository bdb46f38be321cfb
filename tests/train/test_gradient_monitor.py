from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.train import gradients
from asnn_goose.train.dot import DotSettings
from asnn_goose.train.gradient_monitor import Watchman, WatchSettings, measure
from asnn_goose.train.gradient_projection import ProjectSettings
from asnn_goose.train.gradient_rule import SumSettings
from asnn_goose.train.optimiser import Trained
from asnn_goose.train.trainer import StageTrainer


def trained() -> list[Trained]:
    names = (("student.a", "matrix"), ("student.b", "norm"), ("objective.c", "loss"))
    return [Trained(n, g, nn.Parameter(torch.zeros(2))) for n, g in names]


def record(**norms: float) -> dict[str, Any]:
    whole = sum(norms.values())
    return {
        "norm": {"all": norms},
        "cosine": {"all": {}},
        "share": {name: value / whole for name, value in norms.items()},
    }


def watchman(*names: str, every: int = 1) -> Watchman:
    table = {**LOSSES, **VOCAB_LOSSES}
    objective = Objective([Term(name, 1.0, table[name]()) for name in names])
    return Watchman(WatchSettings(every=every), objective)


def test_norms_cosines_and_shares() -> None:
    one, other = torch.tensor([3.0, 0.0]), torch.tensor([-1.0, 1.0])
    found = measure({"kl": [one, None, one], "ce": [other, torch.ones(2), None]}, trained())
    assert found["norm"]["all"] == pytest.approx({"kl": 3.0, "ce": 2.0})
    assert found["norm"]["norm"] == pytest.approx({"kl": 0.0, "ce": 2**0.5})
    assert found["cosine"]["all"]["kl/ce"] == pytest.approx(-0.5)
    assert found["cosine"]["matrix"]["kl/ce"] == pytest.approx(-(0.5**0.5))
    assert found["cosine"]["norm"]["kl/ce"] == 0.0
    assert found["share"] == pytest.approx({"kl": 0.6, "ce": 0.4})
    json.dumps(found, allow_nan=False)


def test_gradients_of_terms_sum_to_that_of_the_loss(tiny: ModuleType) -> None:
    plan = tiny.plan(noise=False)
    stage, batch = plan.stages[1].stage, plan.stages[1].loader.next(0.0)
    parameters = list(stage.student.parameters())
    sum(stage(batch).values()).backward()
    groups = {"kl": ["kl"], "ce": ["ce"]}
    with gradients.kept_apart(stage.objective, groups.values()):
        terms = stage(batch)
    parts = gradients.apart(terms, groups, parameters)
    assert stage.objective.groups == ()
    for parameter, kl, ce in zip(parameters, parts["kl"], parts["ce"], strict=True):
        if parameter.grad is not None:
            torch.testing.assert_close(kl + ce, parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("norms", "word"),
    [
        ({"kl": 1.0, "ce": 1e-4}, "ce gives 0.01%"),
        ({"kl": 20.0, "ce": 1.0}, "gradient of kl is 20 times"),
        ({"kl": 0.05, "ce": 1.0}, "gradient of kl is 0.05 times"),
    ],
)
def test_dead_and_badly_scaled_terms(norms: dict[str, float], word: str) -> None:
    watch = watchman("kl", "ce")
    watch.see(norms)
    assert any(word in text for text in watch.look(record(**norms), {}))
    watch.see(norms)
    assert watch.look(record(**norms), {}) == []  # it stands; no need to say it again


def test_conflict_and_runaway() -> None:
    watch = watchman("ctkd", "ce")
    seen = record(ctkd=1.0, ce=1.0)
    seen["cosine"] = {"all": {"ctkd/ce": -0.3}, "norm": {"ctkd/ce": -0.1}}
    watch.see({"ctkd": 1.0, "ce": 1.0})
    texts = watch.look(seen, {"ctkd.temperature": 1.01})
    assert ["conflict" in texts[0], "at a bound" in texts[1], len(texts)] == [True, True, 2]
    assert "[stage.dot]" in texts[0]


@pytest.mark.parametrize(
    ("last", "kl", "projector", "warned"),
    [
        (1.0, 1.0, True, True),
        (1.0, 0.5, True, False),
        (1.0, 1.0, False, False),
        (2.5, 1.0, True, False),
    ],
)
def test_a_projector_that_learns_in_the_student_s_place(
    last: float, kl: float, projector: bool, warned: bool
) -> None:
    watch, texts = watchman("mlp_output", "kl"), []
    if projector:
        watch._objective.losses["mlp_output"].projector = nn.Linear(2, 2)
    for feature, head in ((3.0, 1.0), (2.5, 1.0), (2.6, 1.0), (last, kl)):
        watch.see({"mlp_output": feature, "kl": head})
        texts = watch.look(record(mlp_output=1.0, kl=1.0), {})
    assert any("projector" in text for text in texts) is warned


def test_its_memory_can_be_kept() -> None:
    one, other = watchman("kl", every=2), watchman("kl", every=2)
    one.see({"kl": 1.0})
    other.restore(json.loads(json.dumps(one.state())))
    assert other.state() == one.state()
    assert [one.due(step) for step in (1, 2, 3, 4)] == [False, True, False, True]


@pytest.mark.parametrize(("tau", "warned"), [(1.0, True), (5.0, False), (20.0, True)])
def test_a_temperature_at_either_bound_has_run_away(tau: float, warned: bool) -> None:
    watch = watchman("ctkd", "ce")
    loss = watch._objective.losses["ctkd"]
    watch.see({"ctkd": 1.0, "ce": 1.0})
    reading = {1.0: loss.low, 5.0: (loss.low + loss.high) / 2, 20.0: loss.high}[tau]
    texts = watch.look(record(ctkd=1.0, ce=1.0), {"ctkd.temperature": float(reading)})
    assert any("at a bound" in text for text in texts) is warned


def test_a_window_is_the_mean_of_its_steps() -> None:
    watch = watchman("kl", every=4)
    for value in (1.0, 2.0, 3.0, 6.0):
        watch.see({"kl": value})
    watch.look(record(kl=1.0), {})
    assert watch.state()["means"] == [{"kl": 3.0}]


@pytest.mark.parametrize("rule", [SumSettings(), DotSettings(delta=0.0), ProjectSettings()])
def test_a_watched_step_is_the_step_that_it_would_have_been(tiny: ModuleType, rule: Any) -> None:
    """In particular its gradient too is a mean over the micro-batches."""
    found = []
    for watch in (None, WatchSettings(every=1)):
        plan = tiny.plan(accumulate=3, noise=False, clip=1e9)
        stage = replace(plan.stages[1], rule=rule, watch=watch)
        trainer = StageTrainer(stage, settings=plan.settings, accelerator=plan.accelerator)
        found.append(trainer.step(0))
        trainer.close()
    assert found[1].grad_norm == pytest.approx(found[0].grad_norm, rel=1e-4)
    assert found[1].watch is not None
    assert set(found[1].watch["share"]) == {"kl", "ce"}
