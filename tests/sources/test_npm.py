"""npm packages: packed once, and no script of theirs runs."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from asnn_goose.sources import NpmPackage, SourceError

from .client_stand_in import install, left_in, npm_that_gives, tarball


def test_npm_package_is_packed_once_and_runs_no_scripts(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    content = tarball(text="call me")
    commands = install(monkeypatch, npm_that_gives(content))
    package = NpmPackage("@scope/pkg", "1.0.0", hashlib.sha256(content).hexdigest())
    assert (package.fetch() / "package" / "text").read_text() == "call me"
    assert package.fetch().parent == cache / "npm"
    assert package.found_version() == "1.0.0"
    [command] = commands
    assert command[:3] == ["npm", "pack", "@scope/pkg@1.0.0"]
    assert "--ignore-scripts" in command


def test_npm_package_that_is_another_or_damaged_is_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    install(monkeypatch, npm_that_gives(b"not a tar"))
    with pytest.raises(SourceError, match="SHA-256"):
        NpmPackage("pkg", "1", "0" * 64).fetch()
    with pytest.raises(SourceError, match="not a readable archive"):
        NpmPackage("pkg", "1").fetch()
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(SourceError, match=r"npm package pkg@1, but npm is not on this machine"):
        NpmPackage("pkg", "1").fetch()
    assert left_in(cache) == []


def test_archive_that_leads_out_of_its_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    install(monkeypatch, npm_that_gives(tarball(**{"../../out": "gone"})))
    with pytest.raises(SourceError, match="not a readable archive"):
        NpmPackage("pkg", "1").fetch()
    assert left_in(cache) == []
