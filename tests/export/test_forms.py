from __future__ import annotations

import numpy as np
import pytest
import torch

from asnn_goose.export.forms import ExportError, dense, int8_rows, projection, ternary
from asnn_goose.format.planes import unpack_planes
from asnn_goose.model.goose.precision import Precision
from asnn_goose.ops.ternary import absmean


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


def test_numbers_that_do_not_fit_are_named() -> None:
    with pytest.raises(ExportError, match=r"blocks.0.x holds numbers that are not finite"):
        dense(torch.tensor([[1.0, float("nan")]]), "f32", name="blocks.0.x")
    with pytest.raises(ExportError, match="x reaches 70000, beyond fp16: take int8 or f32"):
        dense(torch.tensor([[1.0, -70000.0]]), "f16", name="x")


@pytest.mark.parametrize(("planes", "group"), [(1, 0), (2, 0), (2, 64)])
def test_planes_are_those_of_the_student(planes: int, group: int) -> None:
    weight = torch.randn(70, 128, dtype=torch.bfloat16)
    arrays = ternary(weight, Precision(planes=planes, group=group), name="x")
    want = absmean(weight.float(), planes=planes, group=group)
    assert np.array_equal(unpack_planes(arrays["planes"], rows=70), want.codes_POK.numpy())
    assert np.array_equal(arrays["scale"], want.scale_PGO.numpy())


def test_what_goes_along() -> None:
    weight, bias = torch.randn(5, 64), torch.randn(5)
    found = projection(weight, bias, Precision(planes=1, steps=2, threshold=3), "f16", name="x")
    assert set(found) == {"planes", "scale", "bias", "threshold"}
    assert found["threshold"].tolist() == [3.0]
    assert set(projection(weight, None, Precision(), "f16", name="x")) == {"weight"}
