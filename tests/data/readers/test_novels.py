"""Novels out of an R package."""

from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers import novels
from asnn_goose.data.readers.novels import read_novels


def test_novels_are_unwrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["CHAPTER I", "", "", "Emma was", "handsome,  clever", "", "and rich.", ""]
    monkeypatch.setattr(novels, "read_lazy_data", lambda _path: dict.fromkeys("fedcba", lines))
    found = list(read_novels(tmp_path / "Rdata"))
    assert [d.id for d in found] == list("abcdef")
    assert found[0].text == "CHAPTER I\n\nEmma was handsome, clever\n\nand rich."


def test_missing_novels_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novels, "read_lazy_data", lambda _path: {"emma": ["x"]})
    with pytest.raises(DataError, match="holds 1 novels, wanted 6"):
        list(read_novels(tmp_path / "Rdata"))
