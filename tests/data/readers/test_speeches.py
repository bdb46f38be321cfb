"""Speeches, and packages without any."""

from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers.speeches import read_speeches


def test_speeches_of_one_year_share_a_group(tmp_path: Path) -> None:
    for name in ("1945-Truman-1", "1945-Truman-2", "1946-Truman-1"):
        (tmp_path / f"{name}.txt").write_text(f"{name} says: café\n", "utf-8")
    found = list(read_speeches(tmp_path))
    assert [(d.id, d.group) for d in found] == [
        ("1945-Truman-1", "1945"),
        ("1945-Truman-2", "1945"),
        ("1946-Truman-1", "1946"),
    ]
    assert found[0].text == "1945-Truman-1 says: café"


def test_empty_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*\.txt in"):
        list(read_speeches(tmp_path))
