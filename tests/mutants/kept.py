"""Verdicts of an earlier run, good while the mutant, its file and its tests are the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verdicts import PACKAGE, Mutant, Result


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Good verdicts by the fingerprint of what they were found for; nothing without a file."""

    path: Path | None
    root: Path
    results: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path | None, root: Path) -> Kept:
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        results = {row.pop("of"): row for row in map(json.loads, lines)}
        return cls(path=path, root=root, results=results)

    def find(self, mutant: Mutant) -> Result | None:
        found = self.results.get(self._fingerprint(mutant))
        return found and Result(mutant=mutant, **found)

    def add(self, result: Result) -> None:
        """Write a verdict down, unless it is a fault: those are asked again."""
        if self.path is None or result.fault:
            return
        row = {"of": self._fingerprint(result.mutant), "verdict": result.verdict}
        row |= {"noticed": result.noticed} | ({"rows": result.rows} if result.rows else {})
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")

    def _fingerprint(self, mutant: Mutant) -> str:
        files = [self.root / "tests" / test for test in mutant.tests]
        if mutant.file:
            files.append(self.root / "src" / PACKAGE / mutant.file)
        parts = [repr(mutant).encode(), *(file.read_bytes() for file in files)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()
