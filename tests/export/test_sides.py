"""TTQ in a packed file: one plane whose signs have a scale each, the numbers of two planes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asnn_goose.eval.energy import weight_bytes
from asnn_goose.export.packed import PackSettings, export_packed, pack
from asnn_goose.format.mapped import open_mapped
from asnn_goose.format.packed import WEIGHTS, PackedModel, read_packed, write_packed
from asnn_goose.format.planes import pack_planes, unpack_planes, unpack_scaled
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.reference.model import Reference
from asnn_goose.model import GooseForCausalLM
from asnn_goose.shape.packed_error import PackedError
from asnn_goose.shape.student import layout

Student = Callable[..., GooseForCausalLM]
TTQ: dict[str, Any] = {"*": {"planes": 2, "ternary": "ttq"}}
TOKENS = np.array([3, 50, 9, 77, 12, 30], np.int32)


def spiking(steps: int) -> dict[str, Any]:
    return {"*": TTQ["*"] | {"steps": steps, "threshold": 3.0 if steps > 1 else 0.7}}


def written(folder: Path, tensors: dict[str, Any], matrices: Any, config: Any) -> PackedModel:
    folder.mkdir()
    write_packed(folder, config, tensors, matrices)
    return read_packed(folder)


def both(model: GooseForCausalLM, folder: Path) -> tuple[PackedModel, PackedModel]:
    """The packed student, and the same with two planes for each that has two scales."""
    export_packed(model, folder / "packed", settings=PackSettings(dense="f32"))
    one = read_packed(folder / "packed")
    tensors = dict(one.tensors)
    for name in [n for n in tensors if n.endswith(".planes")]:
        scale = tensors[f"{name.removesuffix('.planes')}.scale"]
        tensors[name] = pack_planes(unpack_scaled(tensors[name], scale))
    config = json.loads((folder / "packed" / "config.json").read_text())
    return one, written(folder / "two", tensors, one.matrices, config)


def scored(packed: PackedModel) -> NDArray[np.float32]:
    engine = Engine(packed, threads=1)
    return np.concatenate(list(engine.score(engine.start(), TOKENS)))


def version(packed: PackedModel) -> str:
    return open_mapped(packed.folder / WEIGHTS).metadata["version"]


@pytest.mark.parametrize("steps", [0, 1, 3])
@torch.no_grad()
def test_one_plane_gives_what_two_do_to_the_bit(
    steps: int, student: Student, tmp_path: Path
) -> None:
    model = student(precision=spiking(steps) if steps else TTQ)
    one, two = both(model, tmp_path)
    assert (version(one), version(two)) == ("4", "2")
    for name in (n for n in one.tensors if n.endswith(".planes")):
        assert one.tensors[name].shape[0] == 1
        assert 2 * one.tensors[name].nbytes == two.tensors[name].nbytes
    place = "blocks.1.mixer.key"
    np.testing.assert_array_equal(one.dense(place), two.dense(place))
    found, wanted = scored(one), scored(two)
    np.testing.assert_array_equal(found, wanted)
    oracle_model = Reference(one)
    oracle = oracle_model.forward([oracle_model.new_state()], [TOKENS], every=True)
    assert np.abs(found - oracle).max() / wanted.std() < 1e-3


@torch.no_grad()
def test_a_token_reads_half_the_bytes(student: Student, tmp_path: Path) -> None:
    one, two = both(student(precision=spiking(1)), tmp_path)
    slot = next(s for s in layout(one.config) if s.name == "blocks.0.mixer.key")
    scales = one.tensors[f"{slot.name}.scale"].nbytes
    read = [weight_bytes(packed, slot, 0.4) - scales for packed in (one, two)]  # type: ignore[arg-type]
    assert read[1] == pytest.approx(2 * read[0])


@torch.no_grad()
def test_scales_that_are_alike_are_one(student: Student) -> None:
    """Without a skew the file is what it would be without any of this."""
    model = student(precision=TTQ)
    module = model.blocks[0].mixer.key
    module.ternary.negative_R1.copy_(module.ternary.positive_R1)
    arrays, _ = pack(model, PackSettings())
    assert arrays["blocks.0.mixer.key.scale"].shape == (1, 1, 128)
    assert arrays["blocks.0.mixer.value.scale"].shape == (2, 1, 128)
    codes = module.ternary.planes_of(module.weight).codes_POK.sum(0, keepdim=True)
    wanted = pack_planes(codes.to(torch.int8).numpy())
    np.testing.assert_array_equal(arrays["blocks.0.mixer.key.planes"], wanted)


@torch.no_grad()
def test_planes_of_both_signs_stay_two(student: Student) -> None:
    arrays, _ = pack(student(precision={"*": {"planes": 2}}), PackSettings())
    assert arrays["blocks.0.mixer.key.planes"].shape[0] == 2
    assert (unpack_planes(arrays["blocks.0.mixer.key.planes"], rows=128) < 0).any(axis=(1, 2)).all()


def test_three_scales_of_a_plane_are_refused(student: Student, tmp_path: Path) -> None:
    export_packed(student(precision=TTQ), tmp_path / "packed")
    packed = read_packed(tmp_path / "packed")
    scale = packed.tensors["blocks.0.mixer.key.scale"]
    config = json.loads((tmp_path / "packed" / "config.json").read_text())
    tensors = packed.tensors | {"blocks.0.mixer.key.scale": np.concatenate((scale, scale[:1]))}
    with pytest.raises(PackedError, match=r"shape of tensor 'blocks\.0\.mixer\.key\.scale'"):
        written(tmp_path / "three", tensors, packed.matrices, config)
