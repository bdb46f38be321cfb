from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.starts.least_squares import AROUND_MIXERS, fit_outputs
from asnn_goose.trace import Trace

Fresh = Callable[..., GooseForCausalLM]


@pytest.fixture
def stream(fresh: Fresh, tokens_BT: Tensor) -> Trace:
    """What another model's mixers see and give."""
    torch.manual_seed(5)
    other = fresh(mlp="gated")
    with torch.no_grad():
        for block in other.blocks:
            block.mixer.output.weight.normal_()
        return other.trace(tokens_BT, AROUND_MIXERS)


@torch.no_grad()
def miss(student: GooseForCausalLM, stream: Trace) -> list[float]:
    found = student.drive(stream.mixer_in).mixer_out
    pairs = zip(found, stream.mixer_out, strict=True)
    return [float((a - b).square().sum() / b.square().sum()) for a, b in pairs]


def test_the_right_weights_are_found(fresh: Fresh, stream: Trace) -> None:
    """Only the output projections differ, so that the fit is nearly exact."""
    student = fresh(mlp="gated")
    with torch.no_grad():
        for block in student.blocks:
            block.mixer.output.weight.mul_(0.3)
    before = miss(student, stream)
    assert fit_outputs(student, [stream]) == 3
    assert all(after < 0.1 * was for after, was in zip(miss(student, stream), before, strict=True))


def test_a_bias_that_is_there_is_not_fitted_twice(fresh: Fresh, stream: Trace) -> None:
    biased, plain = fresh(mlp="gated", output_bias=True), fresh(mlp="gated")
    with torch.no_grad():
        plain.load_state_dict(biased.state_dict(), strict=False)
        for block in biased.blocks:
            block.mixer.output.bias.fill_(3.0)
    less = dataclasses.replace(stream, mixer_out=tuple(x - 3.0 for x in stream.mixer_out))
    fit_outputs(biased, [stream])
    fit_outputs(plain, [less])
    for one, other in zip(biased.blocks, plain.blocks, strict=True):
        torch.testing.assert_close(one.mixer.output.weight, other.mixer.output.weight)


def test_nothing_else_moves(fresh: Fresh, stream: Trace) -> None:
    student, untouched = fresh(mlp="gated"), fresh(mlp="gated")
    fit_outputs(student, [stream])
    pairs = zip(student.named_parameters(), untouched.parameters(), strict=True)
    moved = {name for (name, new), old in pairs if not torch.equal(new, old)}
    assert moved == {f"blocks.{layer}.mixer.output.weight" for layer in range(3)}


def test_it_is_the_minimum(fresh: Fresh, stream: Trace) -> None:
    student = fresh(mlp="gated")
    fit_outputs(student, [stream])
    best = miss(student, stream)
    weight = student.blocks[1].mixer.output.weight
    with torch.no_grad():
        for factor in (0.97, 1.03):
            kept = weight.clone()
            weight.mul_(factor)
            assert miss(student, stream)[1] > best[1]
            weight.copy_(kept)


def test_ternary_outputs_are_refused(fresh: Fresh, stream: Trace) -> None:
    student = fresh(mlp="gated", precision={"1.output": {"planes": 1}})
    with pytest.raises(ValueError, match="output projection of block 1 is ternary"):
        fit_outputs(student, [stream])
