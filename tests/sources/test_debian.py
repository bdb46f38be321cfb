"""Debian packages and descriptions: unpacked once, with or without root."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from asnn_goose.sources import AptDescriptions, DebianPackage, SourceError, debian

from .client_stand_in import finished, install


def apt(monkeypatch: pytest.MonkeyPatch, *, lists: bool, root: bool) -> list[list[str]]:
    """An apt-get whose package lists are there, or come with `apt-get update`."""
    state = {"lists": lists}

    def client(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
        if command[:2] == ["apt-get", "update"]:
            state["lists"] = True
        elif command[0] == "apt-get":
            if not state["lists"]:
                return finished(command, 100, "E: Unable to locate package book")
            assert folder is not None
            (folder / "book_2%3a1.0-1_all.deb").write_text("archive")
        elif command[0] == "dpkg-deb":
            assert Path(command[2]).read_text() == "archive"
            Path(command[3], "text").write_text("once upon a time")
        return finished(command)

    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(debian, "_is_root", lambda: root)
    return install(monkeypatch, client)


def test_debian_package_is_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = apt(monkeypatch, lists=True, root=False)
    folder = DebianPackage("book").fetch()
    assert (folder / "text").read_text() == "once upon a time"
    assert DebianPackage("book").fetch() == folder
    assert [command[:2] for command in commands] == [["apt-get", "download"], ["dpkg-deb", "-x"]]


def test_debian_version_is_what_apt_offered(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    commands = apt(monkeypatch, lists=True, root=False)
    # A cache of before versions were kept.
    (cache / "debian" / "book").mkdir(parents=True)
    (cache / "debian" / "book" / "old").write_text("")
    assert DebianPackage("book").found_version() == "2:1.0-1"
    assert not (DebianPackage("book").fetch() / "old").exists()
    assert len(commands) == 2


def test_descriptions_need_neither_root_nor_the_lists_of_the_system(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def client(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        [lists] = [part.partition("=")[2] for part in command if part.startswith("Dir::State")]
        Path(lists, "a_main_i18n_Translation-en").write_text("Package: book")
        Path(lists, "a_main_binary_Packages").write_text("Package: book")
        return finished(command)

    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    commands = install(monkeypatch, client)
    folder = AptDescriptions().fetch()
    assert (folder / "a_main_i18n_Translation-en").read_text() == "Package: book"
    digest = hashlib.sha256(b"Package: book").hexdigest()[:16]
    assert AptDescriptions().found_version() == digest
    assert sorted(path.name for path in folder.iterdir()) == [
        "a_main_i18n_Translation-en",
        "version",
    ]
    [command] = commands
    assert {"apt-get", "update", "Acquire::Languages=en"} <= {*command}


def test_missing_package_lists_are_updated_by_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    apt(monkeypatch, lists=False, root=False)
    with pytest.raises(SourceError, match=r"package book.*apt-get update as root"):
        DebianPackage("book").fetch()
    commands = apt(monkeypatch, lists=False, root=True)
    assert (DebianPackage("book").fetch() / "text").exists()
    assert ["apt-get", "update"] in [command[:2] for command in commands]


def test_machine_without_apt_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, clients: list[list[str]]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(SourceError, match=r"book.*apt-get is not on this machine"):
        DebianPackage("book").fetch()
    assert clients == []
