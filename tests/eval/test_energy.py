"""Operations and energy of a small student, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asnn_goose.eval.energy import Work, dense_picojoules, nonzero, work_per_token
from asnn_goose.eval.random_student import SHAPES, random_student
from asnn_goose.format.packed import PackedModel
from asnn_goose.format.planes import pack_planes, unpack_planes
from asnn_goose.model.parts.precision import Precision

D, M, V, L, N, H = 64, 128, 257, 2, 32, 2
RANK = 32  # the published rule's least
BLOCK = 4 * D * D + 3 * D * M


def student(*, dense: str = "f16", head: str = "int8", **precision: object) -> PackedModel:
    made = random_student(
        SHAPES["tiny"],
        Precision(**precision),  # type: ignore[arg-type]
        dense=dense,
        head=head,
    )
    return PackedModel(
        folder=Path(), config=made.config, tensors=made.tensors, matrices=made.matrices, crc32=""
    )


def by_part(model: PackedModel, density: float = 0.0) -> dict[str, Work]:
    densities = dict.fromkeys(model.matrices, density)
    return {work.part: work for work in work_per_token(model, densities)}


def test_picojoules() -> None:
    work = Work(part="x", operations={"int32_add": 10, "fp32_add": 2, "fp32_mult": 3})
    assert work.additions == 12
    assert work.multiplications == 3
    assert work.picojoules == pytest.approx(10 * 0.1 + 2 * 0.9 + 3 * 3.7)


def test_a_dense_student() -> None:
    found = by_part(student(planes=0, steps=0))
    assert found["mixer"].operations == {"fp32_add": L * 4 * D * D, "fp32_mult": L * 4 * D * D}
    assert found["mlp"].multiplications == L * 3 * D * M
    low_rank = (4 * L - 1) * 2 * RANK * D  # the first block has no value mix
    assert found["low-rank"].operations == {"int32_add": low_rank, "int8x16_mult": low_rank}
    assert found["head"].multiplications == V * D
    assert found["recurrence"].operations == {
        "fp32_add": 4 * L * H * N * N,
        "fp32_mult": 5 * L * H * N * N,
    }
    assert found["encoder"].picojoules == 0


def test_four_bits_meet_bytes_and_their_groups_floats() -> None:
    found = by_part(student(planes=0, steps=0, dense="int4", head="int4"))
    weights, groups = L * 4 * D * D, L * 4 * D  # of the mixers, in groups of 64 = D columns
    assert found["mixer"].operations == {
        "int32_add": weights,
        "int8_mult": weights,
        "fp32_add": 2 * groups,
        "fp32_mult": 2 * groups,
    }
    assert found["mixer"].bytes == weights / 2 + 2 * groups + 4 * L * 4 * D
    assert found["head"].bytes == V * (D / 2 + 2 + 4)


@pytest.mark.parametrize("steps", [1, 3])
def test_spikes_add_the_weights_that_are_not_zero(steps: int) -> None:
    model = student(planes=2, steps=steps, rotate=True)
    weights = sum(
        int(np.count_nonzero(unpack_planes(words, rows=D)))
        for name, words in model.tensors.items()
        if name.endswith(".planes") and ".mixer." in name
    )
    work = by_part(model, density=0.25)["mixer"]
    assert work.operations["int32_add"] == pytest.approx(0.25 * steps * weights)
    assert work.operations["fp32_mult"] == L * 4 * (2 * D + D)


def test_an_encoder() -> None:
    columns = L * (6 * D + M)  # of the seven inputs
    work = by_part(student(planes=1, steps=3, rotate=True), density=0.5)["encoder"]
    assert work.additions == columns * (6 + 1 + 3)
    assert work.multiplications == columns * 2
    single = by_part(student(planes=1, steps=1), density=0.5)["encoder"]
    assert (single.additions, single.multiplications) == (2 * columns, 0)


def test_silent_neurons_cost_nothing() -> None:
    model = student(planes=1, steps=1)
    loud, quiet = (by_part(model, density=d)["mlp"].operations for d in (0.5, 0.1))
    assert loud["int32_add"] == pytest.approx(5 * quiet["int32_add"])


def test_ternary_weights_under_analogue_input_add_in_floating_point() -> None:
    model = student(planes=1, steps=0)
    assert "int32_add" not in by_part(model)["mlp"].operations
    spiking = replace(model, matrices={})
    assert by_part(spiking)["mlp"].operations == by_part(model)["mlp"].operations


def test_dense_shapes_for_comparison() -> None:
    config = student(planes=1, steps=1).config
    products = L * BLOCK + V * D
    assert dense_picojoules(config, form="fp32") == pytest.approx(products * 4.6)
    assert dense_picojoules(config, form="fp16") == pytest.approx(products * 1.5)


def test_nonzero_ignores_signs() -> None:
    codes = np.zeros((1, 70, 3), np.int8)
    codes[0, 69, 0], codes[0, 0, 2] = -1, 1
    assert nonzero(pack_planes(codes)) == 2
