from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asnn_goose.model import GooseForCausalLM, Teacher, convert
from asnn_goose.model.neurons import MeanThreshold
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.model.ternary import AbsMean
from asnn_goose.ops.hadamard import hadamard
from asnn_goose.ops.spike_codes import encode
from asnn_goose.ops.ternary import absmean

CODES = [("rate", 1), ("rate", 5), ("radix2", 3), ("radix3", 1), ("radix3", 3)]


def made(**settings: Any) -> Projection:
    torch.manual_seed(0)
    return Projection(128, 48, bias=True, precision=Precision(**settings))


@pytest.fixture
def x_BK() -> Tensor:
    return torch.randn(4, 5, 128, generator=torch.Generator().manual_seed(1))


def test_a_plain_one_is_nn_linear(x_BK: Tensor) -> None:
    torch.manual_seed(0)
    plain, ours = nn.Linear(128, 48), made()
    ours.load_state_dict(plain.state_dict())
    assert torch.equal(ours(x_BK), plain(x_BK))
    assert ours.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("group", [0, 64])
@pytest.mark.parametrize("planes", [0, 1, 2])
@pytest.mark.parametrize(("code", "steps"), [("radix3", 0), *CODES])
@pytest.mark.parametrize("turn", [False, True])
def test_the_product_is_the_one_of_integers(
    turn: bool, code: str, steps: int, planes: int, group: int, x_BK: Tensor
) -> None:
    layer = made(planes=planes, group=group, steps=steps, code=code, threshold=2.0, rotate=turn)
    h = hadamard(x_BK) if turn else x_BK
    q, amplitude = h, torch.ones(4, 5, 1)
    if steps:
        q, amplitude, _ = encode(h, steps=steps, code=code, threshold=2.0)
    want = torch.zeros(4, 5, 48, dtype=torch.float64)
    if planes:
        codes, scale = absmean(layer.weight.detach(), planes=planes, group=group)
        for plane in range(planes):
            for index, part in enumerate(torch.chunk(torch.arange(128), scale.shape[1])):
                counts = q[..., part].double() @ codes[plane][:, part].T.double()
                want += counts * scale[plane, index]
    else:
        want = q.double() @ layer.weight.detach().T.double()
    want = amplitude * want + layer.bias.detach()
    assert torch.allclose(layer(x_BK).double(), want, atol=1e-5)


def test_rotated_weights_undo_the_rotation(x_BK: Tensor) -> None:
    plain, turned = made(), made(rotate=True)
    turned.load_state_dict(plain.state_dict())
    turned.into_basis_()
    assert not torch.allclose(turned.weight, plain.weight, atol=1e-2)
    assert torch.allclose(turned(x_BK), plain(x_BK), atol=1e-5)


@pytest.mark.parametrize(("code", "steps"), CODES)
def test_a_neurons_gradient_stops_where_the_code_saturates(code: str, steps: int) -> None:
    neuron = MeanThreshold(64, steps=steps, code=code, threshold=2.0 if steps > 1 else 0.7)
    h = (torch.randn(8, 64, generator=torch.Generator().manual_seed(2)) ** 3).requires_grad_()
    dy = torch.randn(8, 64)
    out = neuron(h)
    (dh,) = torch.autograd.grad(out, h, dy)
    spikes = neuron.encode(h)
    assert torch.equal(out, spikes.values())
    inside = h.detach().abs() <= spikes.amplitude_B1 * (neuron.levels + 0.5)
    assert 0 < inside.sum() < inside.numel()
    assert torch.equal(dh, dy * inside)
    # Inside the window of a graded code the error is at most half a level.
    if steps > 1:
        error = (out - h).detach().abs() - spikes.amplitude_B1 / 2
        assert error[inside].max() <= 1e-6


def test_a_silent_token_still_learns() -> None:
    h = torch.ones(1, 8).requires_grad_()
    out = MeanThreshold(8, steps=1, code="rate", threshold=1.0)(h)
    assert out.abs().sum() == 0
    assert torch.equal(torch.autograd.grad(out.sum(), h)[0], torch.ones(1, 8))


def test_the_gradient_of_ternary_weights_passes_unchanged() -> None:
    weight = torch.randn(6, 64, requires_grad=True)
    dy = torch.randn(6, 64)
    out = AbsMean(planes=2)(weight)
    assert torch.equal(out, absmean(weight.detach(), planes=2).dense())
    assert torch.equal(torch.autograd.grad(out, weight, dy)[0], dy)


def test_the_weights_gradient_is_that_of_the_coded_input(x_BK: Tensor) -> None:
    layer = made(planes=1, steps=3, threshold=3.0)
    dy = torch.randn(4, 5, 48)
    (dw,) = torch.autograd.grad(layer(x_BK), layer.weight, dy)
    values = encode(x_BK, steps=3, code="radix3", threshold=3.0).values()
    assert torch.allclose(dw, torch.einsum("bto,btk->ok", dy, values), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_come_back_as_they_were(dtype: torch.dtype, x_BK: Tensor) -> None:
    layer = made(planes=2, steps=3, threshold=4.0, rotate=True).to(dtype)
    out = layer(x_BK.to(dtype))
    assert out.dtype == dtype
    reference = made(planes=2, steps=3, threshold=4.0, rotate=True)(x_BK)
    assert (out.float() - reference).norm() < 0.1 * reference.norm()


def test_autocast_is_borne(x_BK: Tensor) -> None:
    layer = made(planes=2, steps=3, threshold=4.0, rotate=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x_BK)
    out.float().sum().backward()
    # In bf16 an input near the border between two codes may fall on the other side.
    assert (out.float() - layer(x_BK)).abs().mean() < 0.03


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 64 columns, and here are 96"):
        Projection(96, 8, bias=False, precision=Precision(rotate=True))


@torch.no_grad()
def test_a_rotated_student_says_the_same(llama: Callable[..., Teacher], tokens_BT: Tensor) -> None:
    teacher = llama(intermediate_size=128, attention_bias=True)
    plain, turned = (
        convert(teacher, precision={"*": {"rotate": turn}, "1.key": {"rotate": False}})
        for turn in (False, True)
    )
    turned.load_state_dict(
        {n: p for n, p in plain.state_dict().items() if "mixer." in n and ".weight" not in n},
        strict=False,
    )
    theirs, ours = teacher.layers[1].mlp.up_proj.weight, turned.blocks[1].mlp
    assert torch.allclose(ours.matrices()["up"].weight, hadamard(theirs), atol=1e-6)
    assert torch.equal(turned.blocks[1].mixer.key.weight, plain.blocks[1].mixer.key.weight)
    assert torch.allclose(plain(tokens_BT).logits, turned(tokens_BT).logits, atol=1e-4)


@pytest.mark.parametrize("mlp", ["gated", "channel_mix"])
def test_every_matrix_of_a_student_learns(
    mlp: str, fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    student = fresh(precision={"*": {"planes": 2, "steps": 3, "threshold": 4.0}}, mlp=mlp)
    student(tokens_BT, labels=tokens_BT).loss.backward()
    layers = [module for module in student.modules() if isinstance(module, Projection)]
    assert len(layers) == 3 * (4 + len(student.blocks[0].mlp.matrices()))
    for layer in layers:
        assert layer.neuron is not None
        assert layer.ternary is not None
        assert layer.weight.grad is not None
        assert layer.weight.grad.isfinite().all()
        assert layer.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_one_token_at_a_time_gives_the_same(
    fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    student = fresh(precision={"down": {"planes": 2}, "up": {"planes": 1}}, mlp="gated")
    whole = student(tokens_BT[:, :6]).logits
    cache, steps = None, []
    for position in range(6):
        out = student(tokens_BT[:, position : position + 1], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        steps.append(out.logits)
    assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-4)
    assert F.softmax(whole, -1).isfinite().all()


MEASURED = ["spikelm", "spikingbert", "learned"]


@pytest.mark.parametrize("neuron", MEASURED)
@pytest.mark.parametrize("change", [{"rotate": True}, {"sub_norm": True}])
def test_what_a_neuron_has_measured_holds_for_its_own_input(
    neuron: str, change: dict[str, Any]
) -> None:
    """In another basis, or behind another norm, it starts as one made for that input."""
    generator = torch.Generator().manual_seed(0)
    x_BK = torch.randn(50, 64, generator=generator) * torch.linspace(0.1, 5, 64)
    before = {"steps": 1, "neuron": neuron, "code": "rate"}
    torch.manual_seed(1)
    changed = Projection(64, 8, bias=False, precision=Precision(**before))
    changed.train()(x_BK)
    changed.change(Precision(**before, **change))
    torch.manual_seed(1)
    made = Projection(64, 8, bias=False, precision=Precision(**before, **change))
    made.into_basis_()
    torch.testing.assert_close(changed.train()(x_BK), made.train()(x_BK))
    torch.testing.assert_close(changed.eval()(x_BK), made.eval()(x_BK))


def test_codes_that_were_held_are_made_anew_afterwards() -> None:
    precision = Precision(planes=1, steps=3, threshold=4.0, rotate=True)
    matrix = Projection(64, 4, bias=False, precision=precision).eval()
    h = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        matrix.hold(True)
        before = matrix(h)
        matrix.weight.neg_()
        assert torch.equal(matrix(h), before)  # held: they do not change meanwhile
        matrix.hold(False)
        assert torch.allclose(matrix(h), -before, atol=1e-6)
        matrix.weight.neg_()
        assert torch.allclose(matrix(h), before, atol=1e-6)
