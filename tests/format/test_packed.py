from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from asnn_goose.disk import TakenError
from asnn_goose.format.packed import (
    WEIGHTS,
    PackedError,
    is_packed,
    packed_folder,
    read_packed,
)

Packed = Callable[..., Path]
DOWN = "blocks.0.mlp.down"


def test_there_and_back(packed: Packed, fuzz: ModuleType) -> None:
    for changes in fuzz.OTHERS:
        folder = packed(**changes)
        model = read_packed(folder)
        arrays, matrices = fuzz.sound(fuzz.TINY | changes, 0)
        assert model.matrices == matrices
        assert model.tensors.keys() == arrays.keys()
        assert all(np.array_equal(model.tensors[name], array) for name, array in arrays.items())
        assert {"hidden_size": 64, "eos_token_id": 69, "pad_token_id": None}.items() <= (
            model.config.items()
        )
        assert is_packed(folder)


def test_dense_gives_back_the_numbers(packed: Packed) -> None:
    model = read_packed(packed())
    seen = set()
    for name in (n.rpartition(".")[0] for n in model.tensors if n.endswith(("weight", "planes"))):
        if model.tensors.get(f"{name}.weight", np.zeros((1, 1))).ndim == 1:
            continue
        found = model.dense(name)
        assert found.dtype == np.float32
        words, scale = model.tensors.get(f"{name}.planes"), model.tensors.get(f"{name}.scale")
        if words is None:
            weight = model.tensors[f"{name}.weight"]
            seen.add(weight.dtype.name)
            assert np.allclose(found, weight * (1 if scale is None else scale[:, None]), rtol=1e-6)
            continue
        assert scale is not None
        planes, groups, rows = scale.shape
        seen.add(f"{planes} planes, {groups} groups")
        want = np.zeros_like(found)
        for plane, group, row in np.ndindex(planes, groups, rows):
            size = found.shape[1] // groups
            unit, bit = divmod(row, 64)
            pair = words[plane, unit, group * size : (group + 1) * size] >> np.uint64(bit) & 1
            plus, some = pair[:, 0].astype(np.float32), pair[:, 1].astype(np.float32)
            want[row, group * size : (group + 1) * size] += scale[plane, group, row] * (
                2 * plus - some
            )
        assert np.allclose(found, want, atol=1e-6)
    assert {"float16", "float32", "int8", "2 planes, 1 groups"} <= seen
    assert any(form.endswith("2 groups") for form in seen)


def test_a_tied_head_may_be_left_out(packed: Packed, fuzz: ModuleType, drop_head: Any) -> None:
    for tied in (True, False):
        folder = packed(tie_word_embeddings=tied)
        case = fuzz.Case.read(folder)
        drop_head(case)
        case.write(folder, repair=True)
        if tied:
            assert "lm_head.weight" not in read_packed(folder).tensors
        else:
            with pytest.raises(PackedError, match=r"tensor 'lm_head.weight' is None"):
                read_packed(folder)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"steps": 5}, r"steps is 5, must be 0 to 4 for code 'radix3'"),
        ({"steps": -1}, r"steps is -1"),
        ({"steps": True}, r"steps is True"),
        ({"code": "morse"}, r"code is 'morse', must be one of rate, radix2, radix3"),
        ({"rotate": 1}, r"rotate is 1, must be true or false"),
        ({"steps": 0}, r"tensor 'blocks.*threshold' is 'there', must be left out"),
    ],
)
def test_wrong_codings_are_explained(
    entry: dict[str, Any], words: str, packed: Packed, fuzz: ModuleType
) -> None:
    folder = packed()
    name = first_of(folder, ".threshold").removesuffix(".threshold")
    case = fuzz.Case.read(folder)
    table = json.loads(case.header["__metadata__"]["matrices"])
    table[name] = {"steps": 2, "code": "radix3", "rotate": False} | entry
    case.header["__metadata__"]["matrices"] = json.dumps(table)
    case.write(folder, repair=True)
    with pytest.raises(PackedError, match=words):
        read_packed(folder)


def poisoned(folder: Path, fuzz: ModuleType, name: str, change: Callable[[Any], None]) -> None:
    """Change one tensor in the file, with a right checksum."""
    case = fuzz.Case.read(folder)
    entry = case.header[name]
    kind = {"U64": "<u8", "F32": "<f4", "F16": "<f2", "I8": "i1"}[entry["dtype"]]
    data = np.frombuffer(case.data, np.uint8)
    change(data[slice(*entry["data_offsets"])].view(kind).reshape(entry["shape"]))
    case.write(folder, repair=True)


def first_of(folder: Path, end: str, dtype: str = "") -> str:
    model = read_packed(folder)
    return next(
        name
        for name, array in model.tensors.items()
        if name.endswith(end) and dtype in array.dtype.name
    )


def test_bits_that_contradict_are_refused(packed: Packed, fuzz: ModuleType) -> None:
    folder = packed()
    name = first_of(folder, ".planes")

    def contradict(words: Any) -> None:
        words[0, 0, 3] = [4, 0]

    poisoned(folder, fuzz, name, contradict)
    with pytest.raises(PackedError, match=rf"a code in tensor '{name}' is '\+1 and zero'"):
        read_packed(folder)


def test_bits_past_the_last_row_are_refused(packed: Packed, fuzz: ModuleType) -> None:
    folder = packed(head_size=48)  # 96 rows
    name = first_of(folder, "mixer.value.planes")

    def reach(words: Any) -> None:
        words[0, 1, 3] |= np.uint64(1 << 32)

    poisoned(folder, fuzz, name, reach)
    with pytest.raises(PackedError, match=rf"a code past row 96 of tensor '{name}' is 'set'"):
        read_packed(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("end", "dtype"),
    [(".weight", "float16"), (".weight", "float32"), (".scale", "float32"), ("bonus", "float32")],
)
def test_numbers_that_are_none_are_refused(
    end: str, dtype: str, value: float, packed: Packed, fuzz: ModuleType
) -> None:
    folder = packed()
    name = first_of(folder, end, dtype)
    poisoned(folder, fuzz, name, lambda array: array.reshape(-1).__setitem__(-1, value))
    with pytest.raises(PackedError, match=f"a number in tensor '{name}' is 'not finite'"):
        read_packed(folder)


def test_a_code_without_counterpart_and_a_threshold_of_zero_are_refused(
    packed: Packed, fuzz: ModuleType
) -> None:
    folder = packed()
    name = first_of(folder, ".weight", "int8")
    poisoned(folder, fuzz, name, lambda array: array.reshape(-1).__setitem__(5, -128))
    with pytest.raises(PackedError, match=f"smallest code of tensor '{name}' is -128"):
        read_packed(folder)
    name = first_of(packed(), ".threshold")
    poisoned(folder, fuzz, name, lambda array: array.__setitem__(0, 0))
    with pytest.raises(PackedError, match=rf"tensor '{name}' is 0.0, must be above 0"):
        read_packed(folder)


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({}, "2"),
        ({"rope_theta": 5.0}, "2"),
        ({"parallel": True}, "3"),
        ({"logit_cap": 30.0}, "3"),
        ({"rope_thetas": [0.0, 1.0]}, "3"),
        ({"norm_place": "after"}, "3"),
    ],
)
def test_only_what_older_readers_would_misread_is_of_the_newest_version(
    changes: dict[str, Any], version: str, packed: Packed, fuzz: ModuleType
) -> None:
    folder = packed(**changes)
    assert fuzz.Case.read(folder).header["__metadata__"]["version"] == version
    assert read_packed(folder).config["parallel"] == changes.get("parallel", False)


def test_files_of_the_first_version_still_load(packed: Packed, fuzz: ModuleType) -> None:
    folder = packed()
    case = fuzz.Case.read(folder)
    assert case.header["__metadata__"]["version"] == "2"
    case.header["__metadata__"]["version"] = "1"
    case.write(folder, repair=True)
    assert read_packed(folder).tensors


def test_a_model_that_does_not_fit_is_not_written(tmp_path: Path, fuzz: ModuleType) -> None:
    arrays, matrices = fuzz.sound(fuzz.TINY, 0)
    del arrays["final_norm.weight"]
    with pytest.raises(PackedError, match=r"tensor 'final_norm.weight' is None"):
        fuzz.write_sound(tmp_path, fuzz.TINY, arrays, matrices)
    assert not any(tmp_path.iterdir())


def test_a_folder_appears_whole_or_not_at_all(packed: Packed, tmp_path: Path) -> None:
    folder = packed()
    before = (folder / WEIGHTS).read_bytes()

    def fill(target: Path) -> None:
        with packed_folder(target) as fresh:
            (fresh / WEIGHTS).write_text("half")
            raise RuntimeError

    for target in (folder, tmp_path / "other"):
        with pytest.raises(RuntimeError):
            fill(target)
    assert (folder / WEIGHTS).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def packed_beside(folder: Path, source: Path) -> Path:
    """A packed model in a folder with something else in it."""
    shutil.copytree(source, folder)
    (folder / "notes.txt").touch()
    return folder


def test_an_older_model_is_replaced_and_nothing_else(packed: Packed, tmp_path: Path) -> None:
    folder = packed()
    with packed_folder(folder) as fresh:
        (fresh / "new").touch()
    assert [file.name for file in folder.iterdir()] == ["new"]
    with pytest.raises(TakenError, match="exists and is no packed model"), packed_folder(folder):
        pass
    (folder / "new").unlink()
    folder = packed_beside(tmp_path / "other", packed())
    with (
        pytest.raises(TakenError, match=r"holds 'notes.txt' beside a packed model"),
        packed_folder(folder),
    ):
        pass
    assert (folder / "notes.txt").exists()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(TakenError, match="exists and is no packed model"), packed_folder(file):
        pass
    assert file.exists()


def test_damage_is_refused_or_harmless(tmp_path: Path, fuzz: ModuleType) -> None:
    counts = {"refused": 0, "accepted": 0}
    for _ in fuzz.damaged(tmp_path, files=300, seed=7):
        counts[fuzz.run(tmp_path, engine=None)] += 1
    assert counts["refused"] > 200
    assert counts["accepted"] > 3
