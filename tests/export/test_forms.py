from __future__ import annotations

import numpy as np
import pytest
import torch

from asnn_goose.export.forms import ExportError, dense, int8_rows, one, planes, projection, spikes
from asnn_goose.format.planes import unpack_planes, unpack_scaled
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.ternary import Ternary, absmean


def test_int8_is_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(7, 33)).astype(np.float32)
    weight[3] = 0
    codes, scale = int8_rows(weight)
    assert codes.dtype == np.int8
    assert np.abs(codes).max() == 127
    assert np.array_equal(scale, np.abs(weight).max(1) / np.float32(127))
    assert (np.abs(codes * scale[:, None] - weight) <= scale[:, None] / 2 * 1.0001).all()
    assert not codes[3].any()


def test_dense_forms() -> None:
    weight = torch.randn(5, 8)
    assert dense(weight, "f32", name="x")["weight"].tolist() == weight.tolist()
    assert dense(weight, "f16", name="x")["weight"].dtype == np.float16
    assert set(dense(weight, "int8", name="x")) == {"weight", "scale"}
    assert set(dense(weight, "int4", name="x")) == {"weight", "scale", "groups"}
    with pytest.raises(ExportError, match="x has 7 columns: int4 wants an even number"):
        dense(weight[:, 1:], "int4", name="x")


def test_numbers_that_do_not_fit_are_named() -> None:
    with pytest.raises(ExportError, match=r"blocks.0.x holds numbers that are not finite"):
        dense(torch.tensor([[1.0, float("nan")]]), "f32", name="blocks.0.x")
    with pytest.raises(ExportError, match="x reaches 70000, beyond fp16: take int8 or f32"):
        dense(torch.tensor([[1.0, -70000.0]]), "f16", name="x")


class Neuron(torch.nn.Module):
    """As much of a neuron as export sees."""

    def __init__(self, steps: int, numbers: dict[str, float], training_only: str = "") -> None:
        super().__init__()
        self.steps, self.code = steps, "rate"
        self.numbers, self.training_only = numbers, training_only

    def packed(self) -> dict[str, float]:
        return self.numbers


class Method(torch.nn.Module):
    """A ternary method with two planes and a bias of its own."""

    def planes_of(self, weight_OK: torch.Tensor) -> Ternary:
        codes = torch.stack([(weight_OK > 0).float(), -(weight_OK < 0).float()])
        return Ternary(codes, torch.tensor([2.0, 3.0])[:, None, None].expand(2, 1, len(weight_OK)))

    def bias(self, weight_OK: torch.Tensor) -> torch.Tensor:
        return weight_OK.sum(1)


def made(*, bias: bool = True, **fields: object) -> Projection:
    return Projection(64, 5, bias=bias, precision=Precision(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "group"), [(1, 0), (2, 0), (2, 64)])
def test_planes_are_those_of_the_student(number: int, group: int) -> None:
    weight = torch.randn(70, 128, dtype=torch.bfloat16)
    module = Projection(128, 70, bias=False, precision=Precision(planes=number, group=group))
    module.weight = torch.nn.Parameter(weight)
    arrays = projection(module, "f16", name="x")
    want = absmean(weight.float(), planes=number, group=group)
    assert np.array_equal(unpack_planes(arrays["planes"], rows=70), want.codes_POK.numpy())
    assert np.array_equal(arrays["scale"], want.scale_PGO.numpy())
    assert planes(want, name="x").keys() == arrays.keys()


def test_what_goes_along() -> None:
    found = projection(made(planes=1, steps=2, threshold=3.0), "f16", name="x")
    assert set(found) == {"planes", "scale", "bias", "threshold"}
    assert found["threshold"].tolist() == [3.0]
    assert set(projection(made(bias=False), "f16", name="x")) == {"weight"}


@pytest.mark.parametrize("bias", [True, False])
def test_the_ternary_method_is_asked_not_the_precision(bias: bool) -> None:
    module = made(planes=1, bias=bias)
    module.ternary = Method()  # type: ignore[assignment]
    found = projection(module, "f16", name="x")
    weight = module.weight.detach()
    codes = unpack_scaled(found["planes"], found["scale"])
    assert np.array_equal(codes[0], (weight > 0).numpy())
    assert np.array_equal(codes[1], -(weight < 0).int().numpy())
    assert found["scale"][:, 0, 0].tolist() == [2.0, 3.0]
    want = weight.sum(1) + (0 if module.bias is None else module.bias.detach())
    assert np.array_equal(found["bias"], want.numpy())


def test_spikes_are_measured_as_their_neuron_says() -> None:
    for steps, numbers in (
        (1, {"threshold": 0.5}),
        (3, {"threshold": 4.0}),
        (3, {"amplitude": 0.25}),
        (1, {"amplitude": 0.25, "fires": 0.1}),
    ):
        found = spikes(Neuron(steps, numbers), name="x")  # type: ignore[arg-type]
        assert found == numbers
    assert one({"threshold": 0.5})["threshold"].dtype == np.float32


@pytest.mark.parametrize("form", ["f32", "int8"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_factor_of_the_neuron_folds_into_the_weights(number: int, form: str) -> None:
    module = made(planes=number, steps=1, bias=False)
    bare = projection(module, form, name="x")
    module.neuron = Neuron(1, {"threshold": 0.5, "factor": 3.0})  # type: ignore[assignment]
    found = projection(module, form, name="x")
    assert "factor" not in found
    scaled = "scale" if number or form == "int8" else "weight"
    np.testing.assert_allclose(found[scaled], 3 * bare[scaled], rtol=1e-6)
    other = {"f32": "threshold", "int8": "weight"}[form] if not number else "planes"
    assert np.array_equal(found[other], bare[other]) == (other != "threshold")


@pytest.mark.parametrize(
    ("steps", "numbers", "words"),
    [
        (1, {"amplitude": 0.5}, "x: Neuron gives amplitude: the engine needs threshold, or amp"),
        (2, {"amplitude": 0.5, "fires": 1.0}, "threshold, or amplitude$"),
        (1, {}, "x: Neuron gives nothing"),
        (1, {"theta": 1.0}, "gives theta"),
    ],
)
def test_other_numbers_are_refused(steps: int, numbers: dict[str, float], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        spikes(Neuron(steps, numbers), name="x")  # type: ignore[arg-type]


def test_neurons_that_only_train_are_refused_with_their_reason() -> None:
    module = made(steps=1)
    module.neuron = Neuron(1, {}, "it fires along tokens")  # type: ignore[assignment]
    words = r"blocks\.0\.x: spikes of Neuron are for training only: it fires along tokens"
    with pytest.raises(ExportError, match=words):
        projection(module, "f16", name="blocks.0.x")
