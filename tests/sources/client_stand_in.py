"""Clients of registries that give what a test says, and archives for them to give."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Client = Callable[[list[str], Path | None], subprocess.CompletedProcess[str]]


def install(monkeypatch: pytest.MonkeyPatch, client: Client) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], *, cwd: Path | None = None, **_: object) -> object:
        commands.append(command)
        return client(command, cwd)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def finished(command: list[str], code: int = 0, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, code, stdout="", stderr=said)


def wheel_bytes(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"pkg/{name}", text)
    return content.getvalue()


def pip_that_gives(content: bytes) -> Client:
    def pip(command: list[str], _folder: Path | None) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--dest") + 1], "pkg-1.0-py3-none-any.whl").write_bytes(content)
        return finished(command)

    return pip


def tarball(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def npm_that_gives(content: bytes) -> Client:
    def npm(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
        assert folder is not None
        (folder / "scope-pkg-1.0.0.tgz").write_bytes(content)
        return finished(command)

    return npm


def left_in(cache: Path) -> list[str]:
    return [str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file()]
