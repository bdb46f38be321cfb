from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.train import not_finite
from asnn_goose.train.trainer import NotFiniteError, StageTrainer

NAN = float("nan")


@pytest.fixture
def trainer(tiny: ModuleType) -> StageTrainer:
    """The distill stage of the tiny run, ready to step."""
    plan = tiny.plan(noise=False)
    return StageTrainer(plan.stages[1], settings=plan.settings, accelerator=plan.accelerator)


def weights(trainer: StageTrainer) -> list[torch.Tensor]:
    return [entry.parameter.detach().clone() for entry in trainer.trained]


def fails(trainer: StageTrainer) -> str:
    """The message of a step that must fail and must leave the weights alone."""
    before = weights(trainer)
    with pytest.raises(NotFiniteError) as stopped:
        trainer.step(0)
    for old, new in zip(before, weights(trainer), strict=True):
        assert torch.equal(
            old,
            new,
        ) or torch.equal(old.isnan(), new.isnan())
    assert trainer.optimiser.state == {}
    return str(stopped.value)


def test_a_good_step_passes(trainer: StageTrainer) -> None:
    before = weights(trainer)
    assert trainer.step(0).grad_norm > 0
    assert not torch.equal(before[0], weights(trainer)[0])


def test_parameter_is_named(trainer: StageTrainer) -> None:
    with torch.no_grad():
        trainer.plan.stage.student.blocks[1].mixer.key.weight[2, 3] = NAN
    assert fails(trainer) == "parameter 'student.blocks.1.mixer.key.weight'"


def test_every_tensor_is_named(trainer: StageTrainer) -> None:
    """Also one that no step reads: what is saved is looked at as well."""
    stage = trainer.plan.stage
    spikes = {"*": {"steps": 2, "neuron": "gif", "code": "rate"}}
    stage.student.set_precision(spikes)  # neurons keep what they have met
    assert not_finite.bad_tensor(stage) is None
    bad = itertools.cycle([NAN, float("inf"), -float("inf")])
    kinds = {"parameter": stage.named_parameters(), "buffer": stage.named_buffers()}
    tensors = [(f"{kind} {name!r}", x) for kind, named in kinds.items() for name, x in named]
    assert {said.split()[0] for said, x in tensors if x.is_floating_point()} == kinds.keys()
    for said, tensor in tensors:
        kept = tensor.detach().clone()
        if tensor.is_floating_point():
            with torch.no_grad():
                tensor.view(-1)[-1] = next(bad)
            assert not_finite.bad_tensor(stage) == said
            with torch.no_grad():
                tensor.copy_(kept)


def test_innermost_module_is_named(trainer: StageTrainer) -> None:
    def spoil(module: Any, args: Any, output: Any) -> Any:
        return output * torch.where(torch.arange(output.shape[-1]) == 1, NAN, 1.0)

    trainer.plan.stage.student.blocks[1].mixer.value.register_forward_hook(spoil)
    assert fails(trainer) == "output of 'student.blocks.1.mixer.value'"


def test_gradient_nearest_to_the_loss_is_named(trainer: StageTrainer) -> None:
    for name in ("embedding", "final_norm"):
        weight = getattr(trainer.plan.stage.student, name).weight
        weight.register_hook(lambda grad: grad + float("inf"))
    assert fails(trainer) == "gradient of 'student.final_norm.weight'"


def test_huge_but_finite_is_fine() -> None:
    module = torch.nn.Linear(4, 4)
    with torch.no_grad():
        module.weight.fill_(3e38)  # the sum overflows, the values do not
    assert not_finite.bad_tensor(module) is None


def test_clipping_limits_the_step(tiny: ModuleType) -> None:
    plan = tiny.plan(noise=False, clip=1e-3)
    trainer = StageTrainer(plan.stages[1], settings=plan.settings, accelerator=plan.accelerator)
    norm = trainer.step(0).grad_norm
    gradients = [entry.parameter.grad for entry in trainer.trained]
    assert norm > 1e-2
    assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(1e-3, rel=1e-3)


def test_accumulated_micro_batches_equal_one_large_batch(tiny: ModuleType) -> None:
    losses = {}
    gradients = {}
    for accumulate in (1, 2):
        whole = tiny.plan(noise=False, accumulate=accumulate)
        plan = whole.stages[1]
        if accumulate == 1:
            object.__setattr__(plan.loader._part, "batch", 2 * tiny.BATCH)
        trainer = StageTrainer(plan, settings=whole.settings, accelerator=whole.accelerator)
        losses[accumulate] = trainer.step(0).terms
        gradients[accumulate] = [entry.parameter.grad for entry in trainer.trained]
    assert losses[1] == pytest.approx(losses[2], rel=1e-5)
    for one, two in zip(gradients[1], gradients[2], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)
