"""Dense weights of four bits in a packed file: version 5, and what of it is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from asnn_goose.format.groups import numbers
from asnn_goose.format.packed import PackedError, PackedModel, read_packed

Arrays = dict[str, np.ndarray]


def written(folder: Path, fuzz: ModuleType, changes: Arrays | None = None) -> PackedModel:
    """A sound model of all forms with some tensors changed; None takes one out."""
    arrays, matrices = fuzz.sound(fuzz.TINY, 0, grouped=True)
    arrays = {name: a for name, a in (arrays | (changes or {})).items() if a is not None}
    fuzz.write_sound(folder, fuzz.TINY, arrays, matrices)
    return read_packed(folder)


def names(arrays: Arrays, *, part: str = "") -> list[str]:
    found = (name.removesuffix(".groups") for name in arrays if name.endswith(".groups"))
    return [name for name in found if part in name]


def test_there_and_back(tmp_path: Path, fuzz: ModuleType) -> None:
    model = written(tmp_path, fuzz)
    arrays, _ = fuzz.sound(fuzz.TINY, 0, grouped=True)
    assert fuzz.Case.read(tmp_path).header["__metadata__"]["version"] == "5"
    assert all(np.array_equal(model.tensors[name], array) for name, array in arrays.items())
    assert names(arrays, part="embedding")
    for name in names(arrays):
        parts = (model.tensors[f"{name}.{end}"] for end in ("weight", "scale", "groups"))
        assert np.array_equal(model.dense(name), numbers(*parts))


def test_a_number_is_what_the_page_says(tmp_path: Path, fuzz: ModuleType) -> None:
    model = written(tmp_path, fuzz)
    for name in names(model.tensors):
        packed, scale, groups = (
            model.tensors[f"{name}.{end}"].tolist() for end in ("weight", "scale", "groups")
        )
        found = model.dense(name)
        for m, k in ((0, 0), (3, 7), (5, found.shape[1] - 1)):
            code = packed[m][k // 2] // 16 ** (k % 2) % 16
            size, zero = groups[m][k // 64]
            wanted = scale[m] * size * (code - zero / 16)
            assert found[m, k] == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_files_without_groups_are_of_an_older_version(tmp_path: Path, fuzz: ModuleType) -> None:
    fuzz.write_sound(tmp_path, fuzz.TINY, *fuzz.sound(fuzz.TINY, 0))
    assert fuzz.Case.read(tmp_path).header["__metadata__"]["version"] == "2"


CASES: dict[str, tuple[str, Any, str]] = {
    "no groups": ("groups", lambda _: None, "tensor 'NAME.groups' is None, must be U8"),
    "no scale": ("scale", lambda _: None, "tensor 'NAME.scale' is None, must be F32"),
    "more groups": ("groups", lambda g: g.repeat(2, 1), "shape of tensor 'NAME.groups'"),
    "no zeros": ("groups", lambda g: g[..., :1], "shape of tensor 'NAME.groups'"),
    "other bytes": ("groups", lambda g: g.astype(np.int8), "dtype of tensor 'NAME.groups'"),
    "narrower": ("weight", lambda w: w[:, 1:], "shape of tensor 'NAME.weight'"),
    "eight bits": ("weight", lambda w: w.astype(np.int8), "shape of tensor 'NAME.weight'"),
}


@pytest.mark.parametrize("what", CASES)
@pytest.mark.parametrize("part", ["blocks", "embedding"])
def test_what_does_not_fit_is_refused(
    tmp_path: Path, fuzz: ModuleType, what: str, part: str
) -> None:
    arrays, _ = fuzz.sound(fuzz.TINY, 0, grouped=True)
    name, (end, change, said) = names(arrays, part=part)[0], CASES[what]
    changes = {f"{name}.{end}": change(arrays[f"{name}.{end}"])}
    with pytest.raises(PackedError, match=said.replace("NAME", name)):
        written(tmp_path, fuzz, changes)


def test_an_odd_number_of_columns_has_no_four_bits(tmp_path: Path, fuzz: ModuleType) -> None:
    config = fuzz.TINY | {"decay_rank": 7}
    arrays, matrices = fuzz.sound(config, 0)
    name = "blocks.0.mixer.decay.up"
    rows = arrays[f"{name}.weight"].shape[0]
    arrays |= {
        f"{name}.weight": np.zeros((rows, 4), np.uint8),
        f"{name}.scale": np.ones(rows, np.float32),
        f"{name}.groups": np.ones((rows, 1, 2), np.uint8),
    }
    with pytest.raises(PackedError, match=rf"'{name}.weight' is 'U8', must be another for 7 col"):
        fuzz.write_sound(tmp_path, config, arrays, matrices)


def test_only_four_bits_have_groups(tmp_path: Path, fuzz: ModuleType) -> None:
    rows = fuzz.TINY["vocab_size"]
    changes = {
        "embedding.weight": np.ones((rows, 64), np.int8),
        "embedding.scale": np.ones(rows, np.float32),
        "embedding.groups": np.ones((rows, 1, 2), np.uint8),
    }
    with pytest.raises(PackedError, match=r"'embedding\.groups' is 'there', must be left out"):
        written(tmp_path, fuzz, changes)
