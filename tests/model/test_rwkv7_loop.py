"""The student held against an RWKV-7 written down from its paper, token by token, in fp64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.trace import Window

Fresh = Callable[..., GooseForCausalLM]
Weights = dict[str, Tensor]


def low_rank(w: Weights, name: str, x: Tensor, inner: Callable[[Tensor], Tensor]) -> Tensor:
    bias = w.get(f"{name}.bias", torch.zeros(()))
    return bias + inner(x @ w[f"{name}.down"]) @ w[f"{name}.up"]


def same(x: Tensor) -> Tensor:
    return x


def time_mix(
    w: Weights, x_TD: Tensor, v_first_TC: Tensor | None, *, heads: int, one_plus: bool
) -> tuple[Tensor, Tensor]:
    """arXiv 2503.14456, equations 3 to 18, one head and one token at a time."""
    tokens, size = len(x_TD), w["receptance.weight"].shape[0] // heads
    state = torch.zeros(heads, size, size, dtype=torch.float64)
    values, outputs, before_D = [], [], torch.zeros_like(x_TD[0])
    for t in range(tokens):
        x_D = x_TD[t]
        mixed = dict(zip("rwkvag", x_D + (before_D - x_D) * w["shift.mix"], strict=True))
        before_D = x_D
        r, k, v = (
            w[f"{name}.weight"] @ mixed[letter]
            for name, letter in (("receptance", "r"), ("key", "k"), ("value", "v"))
        )
        w_C = torch.exp(
            -math.exp(-0.5) * torch.sigmoid(low_rank(w, "decay", mixed["w"], torch.tanh))
        )
        a = torch.sigmoid(low_rank(w, "rate", mixed["a"], same))
        values.append(v)
        if v_first_TC is not None:
            v = v + (v_first_TC[t] - v) * torch.sigmoid(low_rank(w, "value_mix", mixed["v"], same))
        g = low_rank(w, "gate", mixed["g"], torch.sigmoid)
        kappa, written = k * w["removal"], k * (1 + (a - 1) * w["replacement"])
        y = torch.zeros(heads, size, dtype=torch.float64)
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            unit = kappa[part] / max(float(kappa[part].norm()), 1e-12)
            forget = torch.diag(w_C[part]) - torch.outer(unit, a[part] * unit)
            state[h] = state[h] @ forget + torch.outer(v[part], written[part])
            y_N = state[h] @ r[part]
            y_N = (y_N - y_N.mean()) / torch.sqrt(y_N.var(unbiased=False) + size * 1e-5)
            y_N = y_N * w["norm.weight"][part] + w["norm.bias"][part]
            bonus = (r[part] * written[part] * w["bonus"][h]).sum()
            y[h] = y_N + bonus * v[part]
        gated = y.flatten() * (1 + g if one_plus else g)
        outputs.append(w["output.weight"] @ gated)
    return torch.stack(outputs), torch.stack(values)


def of_mixer(mixer: nn.Module) -> Weights:
    return {name: p.detach().double() for name, p in mixer.named_parameters()}


@pytest.mark.parametrize("gate", ["sigmoid", "one_plus"])
@torch.no_grad()
def test_mixers_are_the_papers_loop(fresh: Fresh, gate: str) -> None:
    student = fresh(gate=gate).double()
    for block in student.blocks:  # outputs small enough that the group norm's eps is seen
        block.mixer.value.weight.mul_(0.02)
    generator = torch.Generator().manual_seed(4)
    x = tuple(torch.randn(1, 9, 64, generator=generator, dtype=torch.float64) for _ in range(3))
    driven, v_first = student.drive(x), None
    for block, x_BTD, found in zip(student.blocks, x, driven.mixer_out, strict=True):
        wanted, values = time_mix(
            of_mixer(block.mixer), x_BTD[0], v_first, heads=4, one_plus=gate == "one_plus"
        )
        v_first = values if v_first is None else v_first
        torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_every_mixer_reads_its_own_input(fresh: Fresh) -> None:
    """ARWKV: the teacher drives each block, so a change of one input moves one output."""
    student = fresh(v_first="none")
    generator = torch.Generator().manual_seed(4)
    x = [torch.randn(1, 5, 64, generator=generator) for _ in range(3)]
    before = student.drive(tuple(x)).mixer_out
    x[1] = x[1] + 1
    after = student.drive(tuple(x), window=Window()).mixer_out
    moved = [
        bool((one - other).abs().max() > 1e-4) for one, other in zip(before, after, strict=True)
    ]
    assert moved == [False, True, False]


@pytest.mark.parametrize(("v_first", "learns"), [("mix", True), ("detached", False)])
def test_later_blocks_teach_the_first_values_only_where_they_may(
    fresh: Fresh, v_first: str, learns: bool
) -> None:
    student = fresh(v_first=v_first)
    generator = torch.Generator().manual_seed(4)
    x = tuple(torch.randn(1, 5, 64, generator=generator) for _ in range(3))
    student.drive(x).mixer_out[2].square().sum().backward()
    gradient = student.blocks[0].mixer.value.weight.grad
    assert (gradient is not None and bool(gradient.any())) == learns


@pytest.mark.parametrize(
    ("table", "steps"),
    [
        ({"down": {"steps": 4}, "7.*": {"steps": 3}}, 3),
        ({"7.down": {"steps": 2}, "7.*": {"steps": 3}}, 2),
        ({"*": {"steps": 1}, "down": {"steps": 4}}, 4),
    ],
)
def test_the_nearer_place_wins(table: dict[str, Any], steps: int) -> None:
    assert PrecisionTable(table).of("down", layer=7).steps == steps
