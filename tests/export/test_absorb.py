"""Amplitudes inside the scales of the weights: the same codes, products to the last place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.reference.matrix import Matrix
from asnn_goose.model import GooseForCausalLM

Student = Callable[..., GooseForCausalLM]
LEARNED: dict[str, Any] = {"steps": 1, "planes": 1, "neuron": "learned"}
TOKENS = np.array([3, 50, 9, 77, 12, 30], np.int32)
KEY = "blocks.0.mixer.key"


def measured(student: Student, **precision: Any) -> GooseForCausalLM:
    model = student(precision={"*": LEARNED} | precision).train()
    model(torch.arange(40)[None])
    return model.eval()


def packed(model: GooseForCausalLM, folder: Path, *, absorb: bool) -> tuple[PackedModel, Any]:
    found = export_packed(model, folder, settings=PackSettings(dense="f32", absorb=absorb))
    return read_packed(folder), found


def both(model: GooseForCausalLM, folder: Path) -> tuple[PackedModel, PackedModel]:
    return tuple(packed(model, folder / str(on), absorb=on)[0] for on in (False, True))  # type: ignore[return-value]


def multiplied(model: PackedModel, x_K: np.ndarray) -> np.ndarray:
    return Matrix(KEY, model.tensors, model.matrices[KEY])(x_K)


def test_products_change_in_the_last_place_at_most(student: Student, tmp_path: Path) -> None:
    plain, absorbed = both(measured(student), tmp_path)
    assert absorbed.tensors[f"{KEY}.amplitude"][0] == 1
    assert plain.tensors[f"{KEY}.amplitude"][0] != 1
    np.testing.assert_array_equal(absorbed.tensors[f"{KEY}.fires"], plain.tensors[f"{KEY}.fires"])
    x_K = np.random.default_rng(0).standard_normal(128).astype(np.float32)
    one, other = multiplied(plain, x_K), multiplied(absorbed, x_K)
    assert np.abs(one).max() > 0
    # Two roundings each, of half a place.
    np.testing.assert_allclose(other, one, rtol=4 * 2**-24, atol=0)


@torch.no_grad()
def test_a_power_of_two_changes_no_bit(student: Student, tmp_path: Path) -> None:
    model = measured(student)
    for name, parameter in model.named_parameters():
        if name.endswith("neuron.amplitude"):
            parameter.fill_(0.25)
    engines = [Engine(found, threads=1) for found in both(model, tmp_path)]
    one, other = (np.concatenate(list(e.score(e.start(), TOKENS))) for e in engines)
    np.testing.assert_array_equal(other, one)


def test_the_engine_sees_the_same_spikes(student: Student, tmp_path: Path) -> None:
    engines = [Engine(found, threads=1) for found in both(measured(student), tmp_path)]
    one, other = (np.concatenate(list(e.score(e.start(), TOKENS))) for e in engines)
    assert engines[0].counts() == engines[1].counts()
    np.testing.assert_allclose(other, one, atol=1e-3 * one.std())


def test_what_stays_is_told_with_its_reason(student: Student, tmp_path: Path) -> None:
    model = measured(
        student,
        value={"neuron": "mean"},
        output={"steps": 3, "threshold": 3.0},
        receptance={"planes": 0},
    )
    found, written = packed(model, tmp_path / "p", absorb=True)
    reasons = {
        "value": "every token has an amplitude of its own",
        "output": "3 steps round h / amplitude, and so need it before the product",
        "receptance": "its weights are dense, and would be rounded anew",
    }
    assert written.kept == {
        f"blocks.{layer}.mixer.{name}": reason
        for layer in (0, 1)
        for name, reason in (
            ("receptance", reasons["receptance"]),
            ("value", reasons["value"]),
            ("output", reasons["output"]),
        )
    }
    assert found.tensors[f"{KEY}.amplitude"][0] == 1
    assert found.tensors["blocks.0.mixer.output.amplitude"][0] != 1


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ({"*": {"steps": 1, "planes": 1}}, r"absorb: no amplitude .*every token has"),
        ({}, "absorb: no amplitude .*no input spikes"),
        ({"*": {"steps": 1, "neuron": "lif"}}, "spikes of LIF are for training only"),
    ],
)
def test_a_student_without_any_is_refused(
    precision: dict[str, Any], said: str, student: Student, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=said):
        packed(student(precision=precision), tmp_path / "p", absorb=True)
    assert not (tmp_path / "p").exists()
