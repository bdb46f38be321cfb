"""Tests in a forked process, against a copy of the sources."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NoReturn

from verdicts import PACKAGE


class CopyFinder:
    """Finds our package in the copy, also where an editable install would find it elsewhere."""

    def __init__(self, copy: Path) -> None:
        self.copy = str(copy)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        return PathFinder.find_spec(name, path or [self.copy])


class FirstFailure:
    """Writes down the first test that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: object) -> None:
        if report.failed and not self.path.exists():  # type: ignore[attr-defined]
            self.path.write_text(json.dumps(report.nodeid))  # type: ignore[attr-defined]


def run_tests(tests: Sequence[Path], folder: Path, plugin: object) -> NoReturn:
    """Run the tests up to the first failure and leave the process with pytest's exit code."""
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.meta_path.insert(0, CopyFinder(folder / "src"))
    os.environ["PYTHONPATH"] = str(folder / "src")  # for processes that tests start
    code = 3
    try:
        import pytest

        # Seconds by the clock say little on a busy machine: the limit is one on the processor.
        options = ["-x", "-q", "--timeout=0", "-p", "no:cacheprovider"]
        # Rewritten assertions and quoted sources would cost as much as many a test.
        options += ["--assert=plain", "--tb=native"]
        options.append(f"--basetemp={folder / 'tmp'}")
        told = FirstFailure(folder / "noticed.json")
        code = int(pytest.main([*options, *map(str, tests)], plugins=[told, plugin]))
    finally:
        sys.stdout.flush()
        os._exit(code)
