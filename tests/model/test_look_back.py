"""Heads that look one token back begin as shifted values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from asnn_goose.model import GooseForCausalLM, Teacher, convert
from asnn_goose.model.mixers.rwkv7.inherit import LOOKS_BACK
from asnn_goose.model.starts.look_back import looks_back


@pytest.fixture
def backward(llama: Callable[..., Teacher]) -> Teacher:
    """Head 2 of block 1 looks one token back: its scores depend on the distance alone."""
    teacher = llama(num_key_value_heads=4)
    attention, size = teacher.layers[1].self_attn, 16
    embedding = teacher.model.get_input_embeddings().weight
    with torch.no_grad():
        embedding[:, 0] = 30.0  # what every token has in common
        for block in teacher.layers:
            for matrix in (block.self_attn.o_proj, block.mlp.down_proj):
                matrix.weight.zero_()
        rows = slice(2 * size, 3 * size)
        attention.q_proj.weight[rows] = 0
        attention.k_proj.weight[rows] = 0
        # The fastest pair turns by 1 radian a token; q begins one token behind.
        angle = torch.tensor(-1.0)
        attention.q_proj.weight[2 * size, 0] = angle.cos() * 40
        attention.q_proj.weight[2 * size + size // 2, 0] = angle.sin() * 40
        attention.k_proj.weight[2 * size, 0] = 1.0
    return teacher


def test_the_head_that_looks_back_is_found(backward: Teacher) -> None:
    found_LH = looks_back(backward)
    assert found_LH.shape == (3, 4)
    assert found_LH[1, 2] > LOOKS_BACK
    rest = found_LH.clone()
    rest[1, 2] = 0
    assert rest.max() < LOOKS_BACK / 2


def test_its_values_start_shifted_and_no_others(backward: Teacher) -> None:
    student = convert(backward, value_shift=True)
    mixes = [block.mixer.value_shift.mix.detach().view(4, 16) for block in student.blocks]
    assert (mixes[1][2] == 1).all()
    assert sum(float(mix.sum()) for mix in mixes) == 16


@torch.no_grad()
def test_a_shifted_value_is_that_of_the_token_before(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: torch.Tensor
) -> None:
    model = fresh(token_shift=False, value_shift=True, v_first="none")
    plain = model.trace(tokens_BT, frozenset({"mixer_in"})).mixer_in
    for block in model.blocks:
        block.mixer.value_shift.mix.zero_()
    before = model.drive(plain).signal("values")
    for block in model.blocks:
        block.mixer.value_shift.mix.fill_(1.0)
    after = model.drive(plain).signal("values")
    for old, new in zip(before, after, strict=True):
        assert torch.allclose(new[:, 1:], old[:, :-1], atol=1e-5)
        assert not new[:, 0].any()
