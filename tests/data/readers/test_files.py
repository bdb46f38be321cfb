"""Files of a cached package."""

import gzip
from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers.files import bytes_of, files_of, json_of, text_of


def test_files_come_in_order_and_folders_are_none(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.txt/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [file.name for file in files_of(tmp_path, "*.txt")] == ["a.txt", "b.txt"]
    with pytest.raises(DataError, match=r"no \*\.rst in .*not whole"):
        files_of(tmp_path, "*.rst")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("naïve".encode(), "naïve"),
        (gzip.compress("naïve".encode(), mtime=0), "naïve"),
        ("naïve \u201cx\u201d".encode("cp1252"), "naïve \u201cx\u201d"),
        (b'<meta charset="iso-8859-2"> \xb1', '<meta charset="iso-8859-2"> ą'),
        (b'<meta charset="no-such"> a', '<meta charset="no-such"> a'),
    ],
)
def test_text_is_read_in_the_charset_it_has(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "page"
    file.write_bytes(content)
    assert text_of(file) == text


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"text" * 100, mtime=0)[:-20])
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"cut\.gz is not readable"):
        bytes_of(tmp_path / "cut.gz")
    with pytest.raises(DataError, match=r"bad\.json is not readable.*delete"):
        json_of(tmp_path / "bad.json")
