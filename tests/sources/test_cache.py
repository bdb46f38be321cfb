"""What reaches the cache is whole, or not there at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from asnn_goose import leftovers
from asnn_goose.sources import SourceError, cache_dir, new_folder


def test_cache_dir_takes_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("ASNN_GOOSE_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "asnn-goose"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "asnn-goose"


def test_new_folder_keeps_the_one_that_was_faster(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with new_folder(target) as fresh:
        (fresh / "who").write_text("we")
        target.mkdir()
        (target / "who").write_text("they")
    assert (target / "who").read_text() == "they"
    assert list(tmp_path.iterdir()) == [target]


def test_new_folder_replaces_where_asked(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("")
    with new_folder(target, replace=True) as fresh:
        (fresh / "new").write_text("")
        assert (target / "old").exists()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "target"
    with pytest.raises(SourceError, match="ASNN_GOOSE_CACHE") as caught, new_folder(target):
        pass
    assert str(target) in str(caught.value)


def test_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No space left"), new_folder(tmp_path / "target"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_caller_pass_through_new_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "target"):
        (tmp_path / "missing").read_text()


def test_what_the_killed_left_goes_with_the_next_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Beside what is whole, and so is never written again; what the living fill stays."""
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    shards = tmp_path / "cache" / "shards"
    (shards / "whole").mkdir(parents=True)
    with leftovers.scratch(shards / "living") as living:
        for place in (tmp_path / "cache", shards, shards / "whole"):
            (place / ".whole.abcdefgh.unfinished" / "fresh").mkdir(parents=True)
        assert cache_dir() == tmp_path / "cache"
        left = [str(path.relative_to(shards)) for path in sorted(shards.rglob("*"))]
        assert left == [living.name, "whole"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["shards"]
