"""Which tests come to the places that mutants break: a mutant is shown to those first.

A mutant dies of the first test that notices it. While the sound code runs, each test's seconds and
the broken places that it came to are written down; a mutant's tests then run in the order of these,
the quick ones that come to its place first. The order is all that depends on it: a mutant survives
only where all of its tests pass.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from verdicts import PACKAGE, Mutant, Result

ROWS = "rows.json"

Row = tuple[str, float, list[str]]
"""A test's id, its seconds of processor, and the names of the mutants whose place it came to."""

Places = Mapping[str, Mapping[int, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What is known of the tests so far."""

    mutants: tuple[Mutant, ...]
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def learn(self, result: Result) -> None:
        """Take over what a run of sound code found."""
        if result.rows:
            self.rows[result.mutant.tests[0]] = list(result.rows)

    def plugin(self, mutant: Mutant, folder: Path) -> object:
        """What pytest runs with in a folder: a watch on sound code, an order on broken code."""
        if mutant.file:
            return Order(self.order(mutant))
        return Watch(self.places(mutant.tests, folder / "src"), folder / ROWS)

    def places(self, tests: Iterable[str], source: Path) -> Places:
        """Names of the mutants that name one of these test files, by file and line."""
        found: dict[str, dict[int, list[str]]] = {}
        for mutant in self.mutants:
            if not set(tests).isdisjoint(mutant.tests):
                lines = found.setdefault(str(source / PACKAGE / mutant.file), {})
                for line in _lines(mutant, source):
                    lines.setdefault(line, []).append(mutant.name)
        return found

    def order(self, mutant: Mutant) -> dict[str, tuple[bool, float]]:
        """Rank of each test: first those that come to the mutant's place, the quick ones before."""
        rows = [row for test in mutant.tests for row in self.rows.get(test, [])]
        return {test: (mutant.name not in names, seconds) for test, seconds, names in rows}


def _lines(mutant: Mutant, source: Path) -> range:
    text = (source / PACKAGE / mutant.file).read_text("utf-8")
    first = text[: text.index(mutant.old)].count("\n") + 1
    return range(first, first + mutant.old.rstrip().count("\n") + 1)


class Watch:
    """A plugin of pytest's that writes a Row for each test."""

    def __init__(self, places: Places, path: Path) -> None:
        self.places, self.path = places, path
        self.rows: list[Row] = []
        self.names: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.names, began = set(), _seconds()
        sys.settrace(self._enter)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.rows.append((item.nodeid, round(_seconds() - began, 3), sorted(self.names)))

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps(self.rows))

    def _enter(self, frame: FrameType, event: str, arg: object) -> Any:
        # Only functions of files with mutants are looked at line by line.
        return self._line if frame.f_code.co_filename in self.places else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        self.names.update(self.places[frame.f_code.co_filename].get(frame.f_lineno, ()))
        return self._line


class Order:
    """A plugin of pytest's that runs tests by their rank; unknown ones at the end."""

    def __init__(self, ranks: Mapping[str, tuple[bool, float]]) -> None:
        self.ranks = ranks

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        last = (True, float("inf"))
        items.sort(key=lambda item: self.ranks.get(item.nodeid, last))


def _seconds() -> float:
    # Of processes that a test starts too.
    return sum(os.times()[:4])
