"""Compiled coding, quantising and products: the integers and gradients of the plain formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import MeanThreshold
from asnn_goose.model.ternary import TERNARY
from asnn_goose.ops.hadamard import hadamard, rotated
from asnn_goose.ops.spike_codes import encode
from asnn_goose.ops.spike_product import Codes, Coding, code, codes_of, spike_product
from asnn_goose.ops.ternary import absmean, twn

pytestmark = pytest.mark.usefixtures("isa")

CODES = [("rate", 1), ("rate", 8), ("radix2", 3), ("radix2", 6), ("radix3", 1), ("radix3", 3)]
CODES += [("radix3", 4)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Numbers whose columns are of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(shape[-1], generator=generator)
    return torch.randn(shape, generator=generator) * torch.logspace(-2, 1, shape[-1])[order]


@pytest.mark.parametrize(("planes", "group"), [(1, 0), (2, 0), (1, 64), (2, 64)])
@pytest.mark.parametrize("columns", [64, 576])
def test_codes_and_scales_are_those_of_absmean(planes: int, group: int, columns: int) -> None:
    weight_OK = drawn(37, columns)
    weight_OK[3] = 0
    weight_OK[4] = 1.0
    found = codes_of(weight_OK, planes=planes, group=group, factor=0.5)
    wanted = absmean(weight_OK, planes=planes, group=group)
    assert found is not None
    assert torch.equal(found.codes_POK.float(), wanted.codes_POK + 0.0)
    assert torch.equal(found.scale_POG, wanted.scale_PGO.transpose(1, 2))
    assert torch.equal(found.dense(), wanted.dense())


def test_other_factors_are_those_of_twn() -> None:
    weight_OK = drawn(20, 128)
    found, wanted = codes_of(weight_OK, planes=1, group=0, factor=0.7), twn(weight_OK, factor=0.7)
    assert found is not None
    assert torch.equal(found.dense(), wanted.dense())
    assert not torch.equal(found.dense(), absmean(weight_OK).dense())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_stays_so(wrong: float) -> None:
    weight_OK = drawn(3, 64)
    weight_OK[1, 5] = wrong
    for planes in (1, 2):
        codes = codes_of(weight_OK, planes=planes, group=0, factor=0.5)
        assert codes is not None
        assert codes.dense().isfinite().all(-1).tolist() == [True, False, True]


@pytest.mark.parametrize(("name", "steps"), CODES)
@pytest.mark.parametrize("rotate", [False, True])
def test_integers_are_those_of_evaluation(name: str, steps: int, rotate: bool) -> None:
    x_BK = drawn(3, 5, 192)
    x_BK[0, 0] = 0
    x_BK[0, 1] = 1e-42  # too small to be divided by
    coding = Coding(rotate=rotate, steps=steps, code=name, threshold=2.0)
    found = code(x_BK, coding)
    h_BK = hadamard(x_BK) if rotate else x_BK
    wanted = encode(h_BK, steps=steps, code=name, threshold=2.0)
    assert torch.equal(found.levels_NK.view(3, 5, 192).float() - coding.top, wanted.q_BK)
    assert torch.equal(found.amplitude_N.view(3, 5, 1), wanted.amplitude_B1)
    assert torch.equal(found.values_BK, wanted.values())


@pytest.mark.parametrize(("name", "steps"), CODES)
@pytest.mark.parametrize("rotate", [False, True])
def test_a_gradient_passes_where_the_neurons_does(name: str, steps: int, rotate: bool) -> None:
    neuron = MeanThreshold(192, steps=steps, code=name, threshold=1.2).double()
    found, wanted = (drawn(4, 192).requires_grad_() for _ in range(2))
    weights = drawn(4, 192, seed=1)
    coding = neuron.coding(rotate=rotate)
    assert coding is not None
    (code(found, coding).values_BK * weights).sum().backward()
    (neuron(rotated(wanted) if rotate else wanted) * weights).sum().backward()
    assert found.grad is not None
    assert wanted.grad is not None
    assert torch.allclose(found.grad, wanted.grad, atol=1e-6)
    assert (wanted.grad == 0).any() or rotate


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_token_that_is_not_finite_is_noticed(wrong: float) -> None:
    x_NK = drawn(3, 64)
    x_NK[1, 7] = wrong
    for steps in (1, 3):
        coded = code(x_NK, Coding(rotate=False, steps=steps, code="radix3", threshold=1.0))
        codes = codes_of(drawn(5, 64), planes=1, group=0, factor=0.5)
        assert codes is not None
        y_NO = spike_product(coded, drawn(5, 64), codes)
        assert y_NO.isfinite().all(-1).tolist() == [True, False, True]


@pytest.mark.parametrize(("name", "steps"), CODES)
@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize(("tokens", "rows", "columns"), [(1, 3, 16), (7, 33, 576), (4, 16, 4096)])
def test_products_and_their_gradients(
    name: str, steps: int, planes: int, tokens: int, rows: int, columns: int
) -> None:
    coding = Coding(rotate=False, steps=steps, code=name, threshold=1.0)
    x_NK, weight_OK = drawn(tokens, columns).requires_grad_(), drawn(rows, columns, seed=1)
    weight_OK.requires_grad_()
    codes = codes_of(weight_OK.detach(), planes=planes, group=0, factor=0.5)
    assert codes is not None
    coded = code(x_NK, coding)
    y_NO, slope_NO = spike_product(coded, weight_OK, codes), drawn(tokens, rows, seed=2)
    (y_NO * slope_NO).sum().backward()
    dense_OK, values_NK = codes.dense().double(), coded.values_BK.detach().double()
    size = float((values_NK @ dense_OK.T).abs().max())
    assert torch.allclose(y_NO.double(), values_NK @ dense_OK.T, atol=1e-6 * size)
    assert weight_OK.grad is not None
    wanted_OK = slope_NO.double().T @ values_NK
    assert torch.allclose(
        weight_OK.grad.double(), wanted_OK, atol=1e-6 * float(wanted_OK.abs().max())
    )
    assert x_NK.grad is not None
    back_NK = (slope_NO.double() @ dense_OK) * _passes(x_NK.detach(), coding)
    assert torch.allclose(x_NK.grad.double(), back_NK, atol=1e-6 * float(back_NK.abs().max()))


def _passes(x_NK: Tensor, coding: Coding) -> Tensor:
    neuron = MeanThreshold(x_NK.shape[1], steps=coding.steps, code=coding.code, threshold=1.0)
    return neuron.window(x_NK, neuron.encode(x_NK).amplitude_B1)


def test_gradients_come_in_however_they_lie() -> None:
    coding = Coding(rotate=False, steps=3, code="radix3", threshold=3.0)
    codes, found = codes_of(drawn(33, 80), planes=2, group=0, factor=0.5), []
    assert codes is not None
    for slope_NO in (torch.ones(9, 33), torch.ones(1, 1).expand(9, 33)):
        x_NK = drawn(9, 80).requires_grad_()
        spike_product(code(x_NK, coding), drawn(33, 80), codes).backward(slope_NO)
        assert x_NK.grad is not None
        found.append(x_NK.grad)
    assert torch.equal(*found)


def test_sums_that_would_leave_sixteen_bits_are_exact() -> None:
    # Every integer at its largest and every weight +1: 4 096 * 63 = 258 048.
    coded = code(torch.ones(5, 4096), Coding(rotate=False, steps=6, code="radix2", threshold=0.5))
    assert (coded.levels_NK == 126).all()
    codes = Codes(torch.ones(1, 20, 4096, dtype=torch.int8), torch.ones(1, 20, 1))
    y_NO = spike_product(coded, torch.ones(20, 4096), codes)
    assert torch.equal(y_NO, coded.amplitude_N[:, None] * torch.full((5, 20), 258_048.0))


def test_threads_change_nothing() -> None:
    found, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        coded = code(drawn(300, 576), Coding(rotate=True, steps=3, code="radix3", threshold=3.0))
        codes = codes_of(drawn(300, 576, seed=1), planes=2, group=0, factor=0.5)
        assert codes is not None
        found.append((*coded[:3], *codes, spike_product(coded, drawn(300, 576), codes)))
    torch.set_num_threads(before)
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("shape", [(64,), (3, 2, 128)])
def test_a_rotation_is_the_fixed_one_and_its_own_transpose(shape: tuple[int, ...]) -> None:
    x = drawn(*shape).requires_grad_()
    assert torch.equal(rotated(x), hadamard(x.detach()))
    slope = drawn(*shape, seed=1)
    (rotated(x) * slope).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, hadamard(slope))


@pytest.mark.parametrize("name", sorted(TERNARY))
def test_compiled_codes_are_the_finished_matrix(name: str) -> None:
    planes = TERNARY[name].planes_known[0]
    method = TERNARY[name](24, 128, planes=planes)
    weight_OK = drawn(24, 128)
    method.start_(weight_OK)
    codes = method.codes(weight_OK)
    assert (codes is not None) == (name in {"absmean", "twn"})
    if codes is not None:
        assert torch.equal(codes.dense(), method.planes_of(weight_OK).dense())
