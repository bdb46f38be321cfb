from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asnn_goose import disk, leftovers


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
    assert [name for name, _ in synced] == ["file", "inner", "fresh", tmp_path.name]
    assert [there for _, there in synced] == [False, False, False, True]


KILLED = """
import sys, time
from pathlib import Path
from asnn_goose import disk, leftovers
with disk.new_folder(Path(sys.argv[1])) as fresh:
    (fresh / "half").write_text("half")
    print("filling", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of making the folder `a`."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "a")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"filling\n"
        yield process
        process.kill()


def test_what_the_killed_leave_goes_and_what_the_living_fill_stays(
    tmp_path: Path, filling: subprocess.Popen[bytes]
) -> None:
    with disk.new_folder(tmp_path / "a"):
        pass
    leftovers.remove_leftovers(tmp_path)
    assert len(list(tmp_path.glob(".a.*/fresh/half"))) == 1
    filling.kill()
    filling.wait()
    leftovers.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_next_write_of_a_name_removes_what_a_killed_one_left(
    tmp_path: Path, filling: subprocess.Popen[bytes]
) -> None:
    (tmp_path / ".a.jsonl.part").write_text("somebody's")
    filling.kill()
    filling.wait()
    disk.write_text(tmp_path / "a", "now a file")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.jsonl.part", "a"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(disk.ctypes, "CDLL", lambda name: object())
    for text in ("one", "two"):
        with disk.replaced_folder(tmp_path / "a", kind="x", marks="mark", holds=("*",)) as fresh:
            (fresh / "mark").touch()
            (fresh / text).write_text(text)
    names = [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))]
    assert names == ["a", "a/mark", "a/two"]


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


def test_what_is_no_text_is_named_with_its_byte(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_bytes(b"gr\xfcn")
    with pytest.raises(disk.NotTextError, match=r"words is not UTF-8 at byte 2 \(0xfc\)"):
        disk.read_text(file)


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    disk.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    disk.write_text(pipe, "words")
    assert os.read(reader, 100) == b"words"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)


def replace(folder: Path) -> None:
    with disk.replaced_folder(folder, kind="list", marks="list", holds=("*.item",)) as fresh:
        (fresh / "list").touch()


def test_a_folder_of_its_own_kind_is_replaced_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    replace(folder)
    (folder / "old.item").touch()
    replace(folder)
    assert [file.name for file in folder.iterdir()] == ["list"]
    (folder / "mine").touch()
    with pytest.raises(disk.TakenError, match="holds 'mine' beside a list"):
        replace(folder)
    (folder / "list").unlink()
    with pytest.raises(disk.TakenError, match="is no list"):
        replace(folder)
    with pytest.raises(disk.TakenError, match="is no list"):
        replace(folder / "mine")
    assert [file.name for file in folder.iterdir()] == ["mine"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    replace(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "list").exists()


def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "scores"
    for text in ("{}", ""):
        file.write_text(text)
        disk.check_file(file, kind="JSON", is_one=disk.JSON)
    file.write_text("my notes")
    with pytest.raises(disk.TakenError, match="scores exists and is no JSON"):
        disk.check_file(file, kind="JSON", is_one=disk.JSON)
    assert file.read_text() == "my notes"
