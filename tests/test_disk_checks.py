"""A place that cannot be written is found out before the work, and leaves no trace."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from asnn_goose import disk


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    for file in ("new.json", "deep/er/new.json", "kept"):
        disk.check_file(tmp_path / file)
    disk.check_folder(tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_place_that_cannot_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for check, place in (
        (disk.check_file, tmp_path),
        (disk.check_file, tmp_path / "file" / "new.json"),
        (disk.check_folder, tmp_path / "file"),
        (disk.check_file, Path("/proc/new.json")),
        (disk.check_folder, Path("/proc/run")),
    ):
        with pytest.raises(OSError, match=r"folder|No such file"):
            check(place)


def test_a_full_disk_is_one_whoever_says_so(tmp_path: Path) -> None:
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space left") as found, disk.new_folder(tmp_path / "a"):
        raise RuntimeError(said)
    assert found.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="other"), disk.system_errors():
        raise RuntimeError("other")
