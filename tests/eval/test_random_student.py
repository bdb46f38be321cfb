from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asnn_goose.eval.random_student import DENSE, HEADS, SHAPES, SURVIVORS, random_student
from asnn_goose.format.packed import write_packed
from asnn_goose.format.planes import unpack_planes
from asnn_goose.infer.engine import Engine
from asnn_goose.model.parts.precision import Precision


@pytest.mark.parametrize(
    "precision",
    [
        Precision(planes=1, steps=1, rotate=True),
        Precision(planes=2, steps=3, group=64, rotate=True),
        Precision(planes=1),
        Precision(),
    ],
    ids=["spiking", "two planes", "analogue", "dense"],
)
def test_it_can_be_written_read_and_run(tmp_path: Path, precision: Precision) -> None:
    write_packed(tmp_path, *random_student(SHAPES["tiny"], precision))
    engine = Engine.load(tmp_path, 1, backend="reference")
    logits = engine.prefill(engine.start(), np.arange(20))
    assert 1 < logits.std() < 9
    assert len(engine.counts()) == (2 * 7 if precision.steps else 0)


@pytest.mark.parametrize("dense", DENSE)
@pytest.mark.parametrize("head", HEADS)
def test_dense_forms_keep_the_size_of_what_comes_in(dense: str, head: str, tmp_path: Path) -> None:
    made = random_student(SHAPES["tiny"], Precision(), dense=dense, head=head)
    write_packed(tmp_path, *made)
    engine = Engine.load(tmp_path, 1, backend="reference")
    assert 1 < engine.prefill(engine.start(), np.arange(20)).std() < 9
    found = made.tensors["blocks.0.mlp.up.weight"], made.tensors["embedding.weight"]
    kinds = {"f16": "float16", "int8": "int8", "int4": "uint8"}
    assert [array.dtype.name for array in found] == [kinds[dense], kinds[head]]


def test_an_unknown_form_is_named() -> None:
    for setting in ("dense", "head"):
        with pytest.raises(ValueError, match=f"{setting} = 'int3': choose one of"):
            random_student(SHAPES["tiny"], Precision(), **{setting: "int3"})


def test_weights_are_as_sparse_as_absmean_leaves_them() -> None:
    student = random_student(SHAPES["tiny"], Precision(planes=2, steps=1))
    codes = unpack_planes(student.tensors["blocks.0.mlp.up.planes"], rows=128)
    assert np.count_nonzero(codes) / codes.size == pytest.approx(SURVIVORS, abs=0.02)
    assert abs(codes.mean()) < 0.02


def test_ranks_of_the_135m_shape_are_the_published_ones() -> None:
    sizes = SHAPES["135m"] | {"num_hidden_layers": 2, "vocab_size": 64}
    tensors = random_student(sizes, Precision(planes=1, steps=1)).tensors
    ranks = [
        tensors[f"blocks.1.mixer.{name}.down.weight"].shape[0]
        for name in ("decay", "rate", "value_mix", "gate")
    ]
    assert ranks == [64, 64, 32, 128]


def test_a_seed_gives_the_same_student() -> None:
    one, two, other = (
        random_student(SHAPES["tiny"], Precision(planes=1), seed=seed).tensors for seed in (1, 1, 2)
    )
    same = [np.array_equal(one[name], two[name]) for name in one]
    assert all(same)
    assert not np.array_equal(one["embedding.weight"], other["embedding.weight"])
