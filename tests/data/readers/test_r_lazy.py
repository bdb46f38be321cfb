"""R's lazy-load databases, written here by hand after the R Internals manual."""

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers import r_lazy
from asnn_goose.data.readers.r_lazy import read_lazy_data, read_novels

HEADER_3 = b"X\n" + struct.pack(">iiii", 3, 0x040201, 0x030500, 5) + b"UTF-8"
HEADER_2 = b"X\n" + struct.pack(">iii", 2, 0x030500, 0x020300)
NIL = struct.pack(">i", 254)
NAMES = struct.pack(">ii", 1, 0x00040009) + struct.pack(">i", 5) + b"names"
SAME_NAMES = struct.pack(">i", (1 << 8) | 255)


def characters(text: str | None) -> bytes:
    content = (text or "").encode()
    length = -1 if text is None else len(content)
    return struct.pack(">ii", 9, length) + content


def strings(*texts: str | None) -> bytes:
    return struct.pack(">ii", 16, len(texts)) + b"".join(map(characters, texts))


def integers(*values: int) -> bytes:
    return struct.pack(f">ii{len(values)}i", 13, len(values), *values)


def named_list(items: dict[str, bytes], names: bytes = NAMES) -> bytes:
    flags = 19 | 1 << 9
    attribute = struct.pack(">i", 2 | 1 << 10) + names + strings(*items) + NIL
    return struct.pack(">ii", flags, len(items)) + b"".join(items.values()) + attribute


def write_database(folder: Path, objects: dict[str, bytes]) -> Path:
    database = folder / "Rdata"
    content, spans = b"padding", {}
    for name, item in objects.items():
        entry = struct.pack(">i", len(item)) + zlib.compress(item)
        spans[name] = integers(len(content), len(entry))
        content += entry
    # The symbol `names` is written out once and referred to afterwards.
    index = named_list(
        {"variables": named_list(spans), "references": named_list({}, SAME_NAMES)}, SAME_NAMES
    )
    database.with_suffix(".rdb").write_bytes(content)
    database.with_suffix(".rdx").write_bytes(gzip.compress(HEADER_3 + index))
    return database


def test_objects_come_back_by_name(tmp_path: Path) -> None:
    reals = struct.pack(">iidd", 14, 2, 0.5, -2.0)
    objects = {
        "lines": HEADER_3 + strings("Call me Ishmael.", "", "café"),
        "old": HEADER_2 + integers(1, -2),
        "mixed": HEADER_3 + named_list({"a": reals}),
    }
    found = read_lazy_data(write_database(tmp_path, objects))
    assert list(found["lines"]) == ["Call me Ishmael.", "", "café"]
    assert list(found["old"]) == [1, -2]
    assert list(found["mixed"]["a"]) == [0.5, -2.0]


def test_cut_or_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Rdata is not a readable R database"):
        read_lazy_data(tmp_path / "Rdata")
    database = write_database(tmp_path, {"text": HEADER_3 + strings("whole")})
    stored = database.with_suffix(".rdb").read_bytes()
    for damaged in (stored[:-2], stored[:12] + b"x" * len(stored[12:]), b""):
        database.with_suffix(".rdb").write_bytes(damaged)
        with pytest.raises(DataError, match="not a readable R database"):
            read_lazy_data(database)


def test_novels_are_unwrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["CHAPTER I", "", "", "Emma was", "handsome,  clever", "", "and rich.", ""]
    monkeypatch.setattr(r_lazy, "read_lazy_data", lambda _path: dict.fromkeys("fedcba", lines))
    found = list(read_novels(tmp_path / "Rdata"))
    assert [d.id for d in found] == list("abcdef")
    assert found[0].text == "CHAPTER I\n\nEmma was handsome, clever\n\nand rich."


def test_missing_novels_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(r_lazy, "read_lazy_data", lambda _path: {"emma": ["x"]})
    with pytest.raises(DataError, match="holds 1 novels, wanted 6"):
        list(read_novels(tmp_path / "Rdata"))
