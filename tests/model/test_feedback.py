"""A student that settles: its equilibrium, the gradient there, and what does not settle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import export_packed
from asnn_goose.model import GooseCache, GooseForCausalLM, Teacher, convert
from asnn_goose.model.goose.block_range import run_range
from asnn_goose.model.goose.feedback import Feedback
from asnn_goose.model.goose.rates import trace_at_equilibrium
from asnn_goose.ops.implicit import NotSettledError
from asnn_goose.trace import Window

Fresh = Callable[..., GooseForCausalLM]
VOCAB, HIDDEN = frozenset({"vocab"}), frozenset({"hidden"})


def fed(fresh: Fresh, size: float = 0.1) -> GooseForCausalLM:
    model = fresh(feedback=True)
    assert model.feedback is not None
    weight = model.feedback.matrix.weight
    with torch.no_grad():
        generator = torch.Generator().manual_seed(2)
        weight.copy_(size * torch.randn(weight.shape, generator=generator) / len(weight) ** 0.5)
    return model.eval()


def back(model: GooseForCausalLM, a_BTD: Tensor) -> Tensor:
    assert model.feedback is not None
    found: Tensor = model.feedback.matrix(F.rms_norm(a_BTD, a_BTD.shape[-1:]))
    return found


@torch.no_grad()
def test_it_starts_as_a_student_without(fresh: Fresh, tokens_BT: Tensor) -> None:
    plain, model = fresh(), fresh(feedback=True)
    model.load_state_dict(plain.state_dict(), strict=False)
    model.feedback = Feedback(model.config.hidden_size)  # the fixture's has been moved
    assert not model.feedback.matrix.weight.any()
    assert torch.equal(model.eval()(tokens_BT).logits, plain.eval()(tokens_BT).logits)


@torch.no_grad()
def test_what_enters_is_the_words_and_what_came_out(fresh: Fresh, tokens_BT: Tensor) -> None:
    model, seen = fed(fresh), list[Tensor]()
    hook = model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    out_BTD = model.trace(tokens_BT, HIDDEN).hidden[-1]
    hook.remove()
    words_BTD = model._embed(model.embedding(tokens_BT), None)
    torch.testing.assert_close(seen[-1], words_BTD + back(model, out_BTD), rtol=1e-4, atol=1e-4)
    assert float((seen[-1] - words_BTD).norm() / words_BTD.norm()) > 1e-3


def test_the_gradient_is_that_of_many_unrolled_rounds(fresh: Fresh, tokens_BT: Tensor) -> None:
    model = fed(fresh).double()
    wanted_loss = _unrolled(model, tokens_BT, rounds=60)
    found_loss = model.trace(tokens_BT, HIDDEN).hidden[-1].square().mean()
    assert model.feedback is not None
    parameters = [
        model.feedback.matrix.weight, model.blocks[0].mixer.key.weight, model.embedding.weight,
    ]  # fmt: skip
    found = torch.autograd.grad(found_loss, parameters)
    wanted = torch.autograd.grad(wanted_loss, parameters)
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-3


def _unrolled(model: GooseForCausalLM, tokens_BT: Tensor, *, rounds: int) -> Tensor:
    feedback, model.feedback = model.feedback, None
    words_BTD = a_BTD = model._embed(model.embedding(tokens_BT), None)
    for _ in range(rounds):
        *_, output = model._blocks(a_BTD, (), Window())
        model.feedback = feedback
        a_BTD = words_BTD + back(model, output.x_BTD)
        model.feedback = None
    *_, output = model._blocks(a_BTD, (), Window())
    model.feedback = feedback
    return output.x_BTD.square().mean()


@torch.no_grad()
def test_with_a_cache_it_is_the_whole_window(fresh: Fresh, tokens_BT: Tensor) -> None:
    model, cache = fed(fresh), GooseCache()
    whole = model(tokens_BT).logits
    pieces = [
        model(piece, past_key_values=cache, use_cache=True).logits
        for piece in tokens_BT.split(7, dim=1)
    ]
    found = torch.cat(pieces, dim=1)
    assert float((found - whole).abs().max() / whole.std()) < 1e-3


@torch.no_grad()
def test_what_does_not_settle_is_named(fresh: Fresh, tokens_BT: Tensor) -> None:
    with pytest.raises(NotSettledError, match=r"no fixed point: .* scale the feedback down"):
        fed(fresh, 300.0)(tokens_BT)


def test_the_stage_at_equilibrium_feeds_back_too(fresh: Fresh, tokens_BT: Tensor) -> None:
    model = fed(fresh)
    entry = {"steps": 4, "code": "rate", "neuron": "spikingbert", "threshold": 3.0}
    model.set_precision({"down": entry} if "down" in model.config.matrix_columns else {"*": entry})
    without = fresh()
    without.set_precision(model.config.precision)
    without.load_state_dict(model.state_dict(), strict=False)
    found = [
        trace_at_equilibrium(one.train(), tokens_BT, HIDDEN, window=Window(), steps=8)[0].hidden
        for one in (model, without)
    ]
    assert not torch.allclose(found[0][-1], found[1][-1])
    found[0][-1].square().mean().backward()
    assert model.feedback is not None
    assert model.feedback.matrix.weight.grad is not None
    assert float(model.feedback.matrix.weight.grad.norm()) > 0


def test_blocks_in_a_row_have_nothing_to_feed_back(fresh: Fresh, tokens_BT: Tensor) -> None:
    with pytest.raises(ValueError, match=r"feedback = true: .* use distill or"):
        run_range(fed(fresh), tokens_BT, first=0, last=1, window=Window())


def test_the_engine_refuses_it_by_name(fresh: Fresh, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"feedback = True: must be false.*PyTorch"):
        export_packed(fresh(feedback=True), tmp_path / "packed")


def test_a_converted_student_begins_without_feedback(teacher: Teacher) -> None:
    student = convert(teacher, feedback=True)
    assert student.feedback is not None
    assert not student.feedback.matrix.weight.any()  # and not what lay in memory
