from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.export.forms import ExportError, projection
from asnn_goose.export.packed import PackSettings, pack
from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.parts.groups import parameter_group
from asnn_goose.model.parts.sub_norm import SubNorm

Fresh = Callable[..., GooseForCausalLM]


@pytest.fixture
def x_BTK() -> Tensor:
    return torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0)) * 3


def test_nothing_happens_before_training(x_BTK: Tensor) -> None:
    assert torch.equal(SubNorm(64).eval()(x_BTK), x_BTK)


def test_gains_begin_at_the_first_batch_and_stay(x_BTK: Tensor) -> None:
    norm = SubNorm(64)
    out_BTK = norm(x_BTK)
    rms = x_BTK.square().mean(-1).sqrt().mean()
    torch.testing.assert_close(norm.weight, rms.expand(64))
    torch.testing.assert_close(out_BTK.square().mean(-1).sqrt(), rms.expand(2, 5))
    norm(100 * x_BTK)
    torch.testing.assert_close(norm.weight, rms.expand(64))


def test_a_token_is_normalised_alone(x_BTK: Tensor) -> None:
    """Its size does not matter, nor do the tokens beside it."""
    norm = SubNorm(64)
    out_BTK = norm(x_BTK)
    other_BTK = x_BTK.clone()
    other_BTK[:, 1:] *= 7
    torch.testing.assert_close(norm(other_BTK), out_BTK, atol=1e-5, rtol=1e-5)


def test_a_student_takes_it_up_and_lays_it_down(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = fresh(mlp="gated").eval()
    with torch.no_grad():
        plain = student(tokens_BT).logits
        student.set_precision({"down": {"sub_norm": True}})
        assert torch.equal(student(tokens_BT).logits, plain)
        student.train()(tokens_BT)
        assert not torch.equal(student.eval()(tokens_BT).logits, plain)
        down = student.blocks[0].mlp.down
        assert bool(down.sub_norm.started)
        gained = down.sub_norm.weight.clone()
        student.set_precision({"down": {"sub_norm": True, "planes": 1}})
        assert torch.equal(down.sub_norm.weight, gained)
        student.set_precision({})
        assert torch.equal(student(tokens_BT).logits, plain)


def test_its_gains_are_norms_for_the_optimiser(fresh: Fresh) -> None:
    student = fresh(mlp="gated", precision={"*": {"sub_norm": True}})
    names = [name for name, _ in student.named_parameters() if "sub_norm" in name]
    assert len(names) == 3 * 7
    assert {parameter_group(name) for name in names} == {"norm"}


def test_the_engine_refuses_it(fresh: Fresh) -> None:
    student = fresh(mlp="gated", precision={"output": {"sub_norm": True, "planes": 1}})
    with pytest.raises(ExportError, match=r"out: sub_norm is for training only"):
        projection(student.blocks[0].mixer.output, "f16", name="out")


@torch.no_grad()
def test_the_heads_input_spikes(fresh: Fresh, tokens_BT: Tensor) -> None:
    dense = fresh(mlp="gated")
    student = fresh(mlp="gated")
    student.set_precision({"head": {"steps": 1}})
    vocab = frozenset({"vocab"})
    final_BTD = student.trace(tokens_BT, vocab).final_BTD
    assert all(len(token.abs().unique()) <= 2 for token in final_BTD.flatten(0, 1))
    torch.testing.assert_close(student(tokens_BT).logits, student.lm_head(final_BTD))
    student.set_precision({})
    assert torch.equal(student(tokens_BT).logits, dense(tokens_BT).logits)


def test_a_spiking_head_is_not_packed(fresh: Fresh) -> None:
    student = fresh(mlp="gated", precision={"head": {"steps": 1}})
    with pytest.raises(ExportError, match=r"precision\.head: spikes there are for training only"):
        pack(student, PackSettings())


def test_the_head_has_no_planes_in_training(fresh: Fresh) -> None:
    with pytest.raises(ValueError, match=r"precision\.head: its input may spike"):
        fresh(precision={"head": {"planes": 1}})
