"""What a mutant is, and what can become of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "asnn_goose"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One place broken on purpose. Without a file it is the sound code itself.

    file      below src/asnn_goose
    old, new  the exact text, which must stand there once, and what takes its place
    tests     files below tests/ that must notice
    argument  why no test can notice, where that is so
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    argument: str = ""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Mutant:
        """From a row of a list; TypeError for a key that is none of the fields."""
        return cls(**{**row, "tests": tuple(row["tests"])})

    @property
    def name(self) -> str:
        if not self.file:
            return f"sound: {self.tests[0]}"
        return f"{self.file}: {one_line(self.old)} -> {one_line(self.new)}"

    def fits(self, root: Path) -> bool:
        """Whether the text stands in its file once and the tests are there."""
        path = root / "src" / PACKAGE / self.file
        there = all((root / "tests" / test).is_file() for test in self.tests)
        return there and path.is_file() and path.read_text("utf-8").count(self.old) == 1

    def apply(self, source: Path, target: Path) -> None:
        """Make `target` a copy of the sources with this one change.

        All other files are links, so that their compiled forms stay good.
        """
        shutil.copytree(source, target, copy_function=os.symlink)
        if self.file:
            path = target / PACKAGE / self.file
            text = path.read_text("utf-8").replace(self.old, self.new)
            path.unlink()
            path.write_text(text, "utf-8")


@dataclass(frozen=True, kw_only=True)
class Result:
    """killed, survived, argued, stale (text gone), sound, unsound, or broken (no test ran).

    rows  of a sound file, what its tests cost and come to (reach.Row)
    """

    mutant: Mutant
    verdict: str
    noticed: str = ""
    seconds: float = 0.0
    log: str = ""
    rows: Sequence[Any] = ()

    @property
    def fault(self) -> bool:
        return self.verdict not in ("killed", "argued", "sound")

    @classmethod
    def of(cls, mutant: Mutant, status: int | None, noticed: str | None) -> Result:
        """From pytest's exit code: 0 all passed, 1 some failed; None where time ran out."""
        if not mutant.file:
            verdict = "sound" if status == 0 else "unsound"
        elif status == 0:
            verdict = "argued" if mutant.argument else "survived"
        elif status is None or noticed:
            verdict = "killed"
        else:
            verdict = "broken"
        late = "(ran out of time)" if status is None else ""
        return cls(mutant=mutant, verdict=verdict, noticed=noticed or late)


def one_line(text: str) -> str:
    """The text with all runs of white space as one space."""
    return " ".join(text.split())
