"""Dense weights of four and eight bits in a packed file: version 5, and what of it is refused."""

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


def names(arrays: Arrays, kind: str, *, part: str = "") -> list[str]:
    return [
        name.removesuffix(".weight")
        for name, array in arrays.items()
        if name.endswith(".weight")
        and array.dtype.name == kind
        and part in name
        and f"{name.removesuffix('.weight')}.groups" in arrays
    ]


def test_there_and_back(tmp_path: Path, fuzz: ModuleType) -> None:
    model = written(tmp_path, fuzz)
    arrays, _ = fuzz.sound(fuzz.TINY, 0, grouped=True)
    assert fuzz.Case.read(tmp_path).header["__metadata__"]["version"] == "5"
    assert all(np.array_equal(model.tensors[name], array) for name, array in arrays.items())
    assert names(arrays, "uint8", part="embedding")
    for kind in ("uint8", "int8"):
        for name in names(arrays, kind):
            parts = (model.tensors[f"{name}.{end}"] for end in ("weight", "scale", "groups"))
            assert np.array_equal(model.dense(name), numbers(*parts))


def test_a_number_is_what_the_page_says(tmp_path: Path, fuzz: ModuleType) -> None:
    model = written(tmp_path, fuzz)
    for kind in ("uint8", "int8"):
        name = names(model.tensors, kind)[-1]
        weight, scale, groups = (
            model.tensors[f"{name}.{end}"].astype(np.float64)
            for end in ("weight", "scale", "groups")
        )
        found = model.dense(name)
        for m, k in ((0, 0), (3, 7), (5, found.shape[1] - 1)):
            code = weight[m, k // 2] // 16 ** (k % 2) % 16 if kind == "uint8" else weight[m, k]
            size, *zero = groups[m, k // 64]
            wanted = scale[m] * size * (code - (zero[0] / 16 if zero else 0))
            assert found[m, k] == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_files_without_groups_are_of_an_older_version(tmp_path: Path, fuzz: ModuleType) -> None:
    fuzz.write_sound(tmp_path, fuzz.TINY, *fuzz.sound(fuzz.TINY, 0))
    assert fuzz.Case.read(tmp_path).header["__metadata__"]["version"] == "2"


def changed(arrays: Arrays, kind: str, what: str) -> tuple[dict[str, Any], str]:
    """A change to a matrix of this kind, and what is said of it."""
    name = names(arrays, kind, part="blocks")[0]
    weight, groups = arrays[f"{name}.weight"], arrays[f"{name}.groups"]
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "no groups": ({"groups": None}, "" if kind == "int8" else f"'{name}.groups' is None"),
        "no scale": ({"scale": None}, f"tensor '{name}.scale' is None, must be F32"),
        "more groups": ({"groups": groups.repeat(2, 1)}, f"shape of tensor '{name}.groups'"),
        "other bytes": ({"groups": groups.astype(np.int8)}, f"dtype of tensor '{name}.groups'"),
        "narrower": ({"weight": weight[:, 1:]}, f"shape of tensor '{name}.weight'"),
        "another kind": (
            {"groups": groups[..., :1] if kind == "uint8" else groups.repeat(2, -1)},
            f"shape of tensor '{name}.groups'",
        ),
    }
    changes, said = cases[what]
    return {f"{name}.{end}": array for end, array in changes.items()}, said


@pytest.mark.parametrize(
    "what", ["no groups", "no scale", "more groups", "other bytes", "narrower", "another kind"]
)
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_what_does_not_fit_is_refused(
    tmp_path: Path, fuzz: ModuleType, kind: str, what: str
) -> None:
    arrays, _ = fuzz.sound(fuzz.TINY, 0, grouped=True)
    changes, said = changed(arrays, kind, what)
    if not said:  # then it is int8 with a scale for each row
        assert written(tmp_path, fuzz, changes).tensors
        return
    with pytest.raises(PackedError, match=said):
        written(tmp_path, fuzz, changes)


def test_eight_bits_have_no_code_without_counterpart(tmp_path: Path, fuzz: ModuleType) -> None:
    arrays, _ = fuzz.sound(fuzz.TINY, 0, grouped=True)
    name = names(arrays, "int8")[0]
    weight = arrays[f"{name}.weight"].copy()
    weight[0, 0] = -128
    with pytest.raises(PackedError, match=rf"smallest code of tensor '{name}.weight' is -128"):
        written(tmp_path, fuzz, {f"{name}.weight": weight})


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


def test_rows_that_are_looked_up_in_eight_bits_have_no_groups(
    tmp_path: Path, fuzz: ModuleType
) -> None:
    arrays, _ = fuzz.sound(fuzz.TINY, 0)
    rows = fuzz.TINY["vocab_size"]
    changes = {
        "embedding.weight": np.ones((rows, 64), np.int8),
        "embedding.scale": np.ones(rows, np.float32),
        "embedding.groups": np.ones((rows, 1, 1), np.uint8),
    }
    with pytest.raises(PackedError, match="tensor 'embedding.groups' is 'there', must be left out"):
        written(tmp_path, fuzz, changes)
