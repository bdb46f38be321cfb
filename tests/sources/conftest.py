"""A cache of a test's own, and clients that do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .client_stand_in import finished, install


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(folder))
    return folder


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replaces every client by one that does nothing; gives the commands that were run."""
    return install(monkeypatch, lambda command, _folder: finished(command))
