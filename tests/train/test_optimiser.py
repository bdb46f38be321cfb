from __future__ import annotations

import pytest
import torch
from torch import nn

from asnn_goose.train.optimiser import (
    AdamSettings,
    Trained,
    adamw,
    restore_state,
    set_rate,
    state_tensors,
)


def three() -> list[Trained]:
    torch.manual_seed(0)
    groups = ("matrix", "vector", "norm")
    return [Trained(f"p.{g}", g, nn.Parameter(torch.randn(8, 8))) for g in groups]


def make(trained: list[Trained], *, weight_decay: float = 0.0) -> torch.optim.AdamW:
    adam = AdamSettings(scales={"vector": 10.0}, betas=(0.9, 0.95), weight_decay=weight_decay)
    return adamw(trained, adam)


def step(optimiser: torch.optim.AdamW, trained: list[Trained], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for entry in trained:
        entry.parameter.grad = torch.randn(8, 8, generator=generator)
    optimiser.step()


def test_rates_scale_by_group() -> None:
    trained = three()
    before = [entry.parameter.detach().clone() for entry in trained]
    optimiser = make(trained)
    set_rate(optimiser, 1e-3)
    step(optimiser, trained, seed=1)
    moved = [(e.parameter.detach() - b).abs().mean() for e, b in zip(trained, before, strict=True)]
    # the first step of Adam moves every value by the rate
    assert [float(m) for m in moved] == pytest.approx([1e-3, 1e-2, 1e-3], rel=1e-3)


def test_decay_pulls_on_matrices_only() -> None:
    trained = three()
    before = [entry.parameter.detach().clone() for entry in trained]
    optimiser = make(trained, weight_decay=0.5)
    set_rate(optimiser, 0.1)
    for entry in trained:
        entry.parameter.grad = torch.zeros(8, 8)
    optimiser.step()
    torch.testing.assert_close(trained[0].parameter.detach(), before[0] * 0.95)
    for entry, start in zip(trained[1:], before[1:], strict=True):
        assert torch.equal(entry.parameter, start)


def test_a_restored_optimiser_goes_on_bit_for_bit() -> None:
    whole, parts = three(), three()
    first, second = make(whole), make(parts)
    for optimiser, trained in ((first, whole), (second, parts)):
        set_rate(optimiser, 1e-2)
        step(optimiser, trained, seed=1)
        step(optimiser, trained, seed=2)
    saved = {name: tensor.clone() for name, tensor in state_tensors(second, parts).items()}
    assert set(saved) == {
        f"{kind}/p.{group}"
        for kind in ("step", "exp_avg", "exp_avg_sq")
        for group in ("matrix", "vector", "norm")
    }
    third = make(parts)
    restore_state(third, parts, saved)
    set_rate(third, 1e-2)
    step(first, whole, seed=3)
    step(third, parts, seed=3)
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one.parameter, other.parameter)


def test_no_state_before_the_first_step() -> None:
    trained = three()
    assert state_tensors(make(trained), trained) == {}


def test_all_state_goes_to_the_device_of_its_parameter() -> None:
    """A fused optimiser on a GPU refuses a step count left on the CPU; meta stands for one."""
    trained = [Trained("p", "matrix", nn.Parameter(torch.zeros(2, device="meta")))]
    optimiser = torch.optim.AdamW([trained[0].parameter])
    saved = {"step/p": torch.tensor(3.0), "exp_avg/p": torch.zeros(2)}
    restore_state(optimiser, trained, saved)
    devices = {value.device.type for value in optimiser.state[trained[0].parameter].values()}
    assert devices == {"meta"}
