from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asnn_goose.format.mapped import open_mapped, write_mapped
from asnn_goose.shape.packed_error import PackedError

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "codes": np.arange(-5, 6, dtype=np.int8).reshape(1, 11),
    "half": np.linspace(0, 1, 6).astype(np.float16).reshape(2, 3),
    "single": np.arange(3, dtype=np.float32),
    "words": np.array([[1 << 63, 7]], np.uint64),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "x.safetensors"
    write_mapped(file, ARRAYS, {"format": "x"})
    return file


@pytest.fixture
def spliced(file: Path) -> Callable[..., Path]:
    """Rewrite parts of the header: tensor name -> fields, or None to drop it."""

    def make(**changes: Any) -> Path:
        content = file.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        for name, change in changes.items():
            if change is None:
                del header[name]
            else:
                header[name] = header.get(name, {}) | change if isinstance(change, dict) else change
        text = json.dumps(header).encode()
        text += b" " * (-(8 + len(text)) % 64)
        file.write_bytes(len(text).to_bytes(8, "little") + text + content[start:])
        return file

    return make


def test_there_and_back(file: Path) -> None:
    mapped = open_mapped(file)
    assert mapped.metadata == {"format": "x"}
    assert mapped.tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        found = mapped.tensors[name]
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        assert found.flags.aligned
        assert not found.flags.writeable
        assert not found.flags.owndata


def test_the_library_reads_it_and_we_read_the_library(file: Path, tmp_path: Path) -> None:
    for name, array in load_file(file).items():
        assert np.array_equal(array, ARRAYS[name])
    other = tmp_path / "theirs.safetensors"
    save_file(ARRAYS, other)
    assert np.array_equal(open_mapped(other).tensors["words"], ARRAYS["words"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"half": {"dtype": "BF16"}}, r"dtype of tensor 'half' is 'BF16', must be one of U64"),
        ({"half": {"dtype": ["F16"]}}, r"dtype of tensor 'half'"),
        ({"half": {"shape": [2, 4]}}, r"data_offsets of tensor 'half'.*16 bytes apart"),
        ({"half": {"shape": [2, -3]}}, r"shape of tensor 'half' is \[2, -3\]"),
        ({"half": {"shape": [True, 6]}}, r"shape of tensor 'half'"),
        ({"half": {"shape": [2, 3.0]}}, r"shape of tensor 'half'"),
        ({"half": {"shape": [0, 3]}}, r"shape of tensor 'half'"),
        ({"half": {"shape": [1, 1, 1, 2, 3]}}, r"shape of tensor 'half'.*up to 4"),
        ({"half": {"shape": [1 << 62, 1 << 62]}}, r"shape of tensor 'half'"),
        ({"half": {"data_offsets": [0, 12]}}, r"begin of tensor"),
        ({"half": {"data_offsets": [12, 0]}}, r"data_offsets of tensor 'half'.*rise"),
        (
            {"half": {"data_offsets": [1000, 1012]}},
            r"data_offsets of tensor 'half'.*within 51 byte",
        ),
        ({"half": {"data_offsets": [28]}}, r"data_offsets of tensor 'half'"),
        ({"half": {"colour": "red"}}, r"tensor 'half'.*must be a table of dtype, shape"),
        ({"half": [1]}, r"tensor 'half' is \[1\], must be a table"),
        ({"half": None}, r"begin of tensor 'codes' is 40, must be 28"),
        ({"codes": None}, r"length of its data is 51, must be 40 bytes"),
        ({"__metadata__": {"crc": 3}}, r"__metadata__.*must be a table of strings"),
        ({"__metadata__": 3}, r"__metadata__ is 3"),
        ({"again": {"dtype": "I8", "shape": [11], "data_offsets": [40, 51]}}, r"begin of tensor"),
    ],
)
def test_a_wrong_header_is_explained(
    changes: dict[str, Any], words: str, spliced: Callable[..., Path]
) -> None:
    file = spliced(**changes)
    with pytest.raises(PackedError, match=words) as error:
        open_mapped(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"cannot be opened"),
        (b"1234", r"its size is '4 bytes', must be at least 8"),
        (b"\xff" * 64, r"header's length is 18446744073709551615, must be at most 56"),
        (b"\x02" + bytes(7) + b"[]", r"the header is \[\], must be a JSON object"),
        (b"\x02" + bytes(7) + b"{x", r"the header is not sound JSON"),
        (b"\x02" + bytes(7) + b"\xff\xff", r"the header is not sound JSON"),
        (b"\x50\xc3" + bytes(6) + b"[" * 50000, r"the header is not sound JSON"),
        (b"\x0d" + bytes(7) + b'{"a":1,"a":2}', r"a key comes twice"),
    ],
)
def test_a_foreign_file_is_explained(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(PackedError, match=words):
        open_mapped(file)


def test_a_huge_header_is_not_even_read(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    with file.open("wb") as stream:
        stream.write((1 << 30).to_bytes(8, "little"))
        stream.truncate(2 << 30)  # sparse
    with pytest.raises(PackedError, match="header's length is 1073741824, must be at most 8388608"):
        open_mapped(file)


def test_a_missing_file_and_a_folder_are_explained(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(PackedError, match="cannot be opened"):
            open_mapped(path)


def test_data_out_of_line_are_refused(file: Path) -> None:
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    file.write_bytes(
        (length + 1).to_bytes(8, "little") + content[8 : 8 + length] + b" " + content[8 + length :]
    )
    with pytest.raises(PackedError, match=r"the place of tensor .* must be aligned"):
        open_mapped(file)


def test_other_types_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="elements of type float64"):
        write_mapped(tmp_path / "x", {"x": np.zeros(2)}, {})
