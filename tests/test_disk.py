from __future__ import annotations

from pathlib import Path

import pytest

from asnn_goose import disk


def test_folder_appears_whole(tmp_path: Path) -> None:
    with disk.new_folder(tmp_path / "a") as temporary:
        (temporary / "file").write_text("x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "file").read_text() == "x"
    assert len(list(tmp_path.iterdir())) == 1


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with disk.new_folder(tmp_path / "a") as temporary:
            (temporary / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_everything_is_synced_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def note(path: Path) -> None:
        synced.append((path.name, (tmp_path / "a").exists()))

    monkeypatch.setattr(disk, "sync", note)
    with disk.new_folder(tmp_path / "a") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("x")
    assert [name for name, _ in synced] == ["inner", "file", ".a.part", tmp_path.name]
    assert [there for _, there in synced] == [False, False, False, True]


def test_leftovers_of_a_crash_are_overwritten_and_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.part").mkdir()
    (tmp_path / ".a.part" / "old").write_text("old")
    with disk.new_folder(tmp_path / "a"):
        pass
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / ".b.part").mkdir()
    (tmp_path / ".c.part").write_text("half")
    disk.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_text_is_replaced_and_survives_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    disk.write_text(file, "first")
    disk.write_text(file, "second")
    assert file.read_text() == "second"

    def full(path: Path) -> None:
        raise OSError

    monkeypatch.setattr(disk, "sync", full)
    with pytest.raises(OSError):  # noqa: PT011 - any
        disk.write_text(file, "third")
    assert file.read_text() == "second"
