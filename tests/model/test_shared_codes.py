"""One input, one coding: for every matrix that reads it, in training, evaluation and the engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.infer.reference.spikes import encode as engine_encode
from asnn_goose.model import GooseConfig
from asnn_goose.model.mlps.gated import GatedMLP
from asnn_goose.model.neurons import NEURONS
from asnn_goose.model.parts import projection
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.hadamard import rotated
from asnn_goose.ops.native_build import native_available
from asnn_goose.ops.spike_codes import encode
from asnn_goose.trace import Window

SPIKING = {"planes": 1, "steps": 3, "threshold": 2.0, "rotate": True}
compiled = pytest.mark.skipif(not native_available(), reason="no compiled kernels here")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[tuple[object, ...]]:
    """Arguments of every call of a function."""
    found: list[tuple[object, ...]] = []
    inner: Callable[..., object] = getattr(module, name)

    def noted(*args: object, **keys: object) -> object:
        found.append(args)
        return inner(*args, **keys)

    monkeypatch.setattr(module, name, noted)
    return found


def mlp(**more: object) -> GatedMLP:
    torch.manual_seed(0)
    precision = {"*": SPIKING, **more}
    return GatedMLP(
        GooseConfig(hidden_size=64, intermediate_size=128, mlp="gated", precision=precision),
        layer=0,
    )


@compiled
def test_gate_and_up_code_their_input_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch, projection, "code")
    part, x_BTD = mlp(), drawn(1, 6, 64)
    part(x_BTD, None, Window(), Membranes(Window()))
    assert len(calls) == 2  # theirs, and that of down
    calls.clear()
    mlp(up={"threshold": 3.0})(x_BTD, None, Window(), Membranes(Window()))
    assert len(calls) == 3


def test_what_is_shared_has_the_gradient_of_what_is_not() -> None:
    one, other = (Projection(64, 5, bias=False, precision=Precision(**SPIKING)) for _ in range(2))
    found = []
    for shared in (True, False):
        x_BTD = drawn(2, 7, 64).requires_grad_()
        membranes = Membranes(Window())
        total = one(x_BTD, membranes) + 2 * other(x_BTD, membranes if shared else None)
        (total * drawn(2, 7, 5, seed=1)).sum().backward()
        assert x_BTD.grad is not None
        found.append((total.detach(), x_BTD.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_another_input_is_coded_anew() -> None:
    matrix = Projection(64, 5, bias=False, precision=Precision(**SPIKING))
    membranes = Membranes(Window())
    first, second = (matrix(drawn(1, 3, 64, seed=s), membranes) for s in (1, 2))
    assert torch.equal(second, matrix(drawn(1, 3, 64, seed=2)))
    assert not torch.equal(first, second)


def possible() -> list[tuple[str, int, str]]:
    """Neurons without a memory for tokens, with steps and codes that they take."""
    found = []
    for name, kind in NEURONS.items():
        for steps, code in ((1, "rate"), (3, "rate"), (3, "radix3")):
            try:
                Precision(steps=steps, code=code, neuron=name)
            except ValueError:
                continue
            found += [] if kind.stateful else [(name, steps, code)]
    return found


@pytest.mark.parametrize(("name", "steps", "code"), possible())
def test_training_and_evaluation_code_the_same_integers(name: str, steps: int, code: str) -> None:
    fixed = ("heaviside", "gif", "lsq_plus")  # which take no threshold
    threshold = {} if name in fixed else {"threshold": 1.5}
    precision = Precision(steps=steps, code=code, neuron=name, rotate=True, **threshold)
    matrix, x_BTD = Projection(128, 3, bias=False, precision=precision), drawn(2, 9, 128)
    matrix.train().coded(x_BTD)  # what a neuron measures on its first batch
    evaluated = matrix.eval().coded(x_BTD)
    with torch.no_grad():
        assert torch.equal(matrix.coded(x_BTD), evaluated)
    assert torch.equal(matrix.train().coded(x_BTD.requires_grad_()).detach(), evaluated)


@pytest.mark.parametrize(("code", "steps"), [("radix3", 1), ("radix3", 3), ("rate", 4)])
def test_the_engine_codes_the_same_integers(code: str, steps: int) -> None:
    matrix = Projection(
        128,
        3,
        bias=False,
        precision=Precision(steps=steps, code=code, rotate=True, threshold=1.5),
    )
    x_TD = drawn(9, 128)
    trained_TD = matrix.train().coded(x_TD.requires_grad_()).detach()
    h_TD = rotated(x_TD.detach())
    spikes = encode(h_TD, steps=steps, code=code, threshold=1.5)
    assert torch.equal(trained_TD, spikes.values())
    for h_D, q_D in zip(h_TD, spikes.q_BK, strict=True):
        found = engine_encode(h_D.numpy(), steps=steps, code=code, threshold=1.5)
        assert (torch.from_numpy(found.levels_K) == q_D).all()


@compiled
def test_codes_are_held_while_weights_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Tensor] = []
    matrix = Projection(64, 5, bias=False, precision=Precision(**SPIKING))
    assert matrix.ternary is not None
    inner = matrix.ternary.codes

    def noted(weight_OK: Tensor) -> object:
        calls.append(weight_OK)
        return inner(weight_OK)

    monkeypatch.setattr(matrix.ternary, "codes", noted)
    x_BTD = drawn(1, 3, 64)
    matrix.hold(True)
    first = matrix(x_BTD)
    assert torch.equal(first, matrix(x_BTD))
    assert len(calls) == 1
    matrix.hold(False)
    with torch.no_grad():
        matrix.weight.copy_(drawn(5, 64, seed=4))
    assert not torch.equal(first, matrix(x_BTD))
    assert len(calls) == 2
