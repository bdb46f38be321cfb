"""metrics.jsonl: one line for every logged step."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asnn_goose.disk import sync, write_text
from asnn_goose.train.progress import StepInfo


class MetricsLog:
    """Appends lines; where the disk is full they wait in memory until it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = b""

    def append(self, info: StepInfo) -> str | None:
        """Write one line; returns the reason where it has to wait."""
        # allow_nan=False: NaN is no JSON, and every reader but Python's would stop at the line.
        self._waiting += (json.dumps(_line(info), allow_nan=False) + "\n").encode()
        return self.flush()

    def flush(self) -> str | None:
        """Write the lines that wait; returns the reason where they still do."""
        try:
            # Unbuffered: what `write` did not take is known at once, not when the file is closed.
            with self.path.open("ab", buffering=0) as file:
                size = file.tell()
                if file.write(self._waiting) < len(self._waiting):
                    file.truncate(size)  # never leave half a line
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            return f"{self.path} cannot be written ({error.strerror}); its lines wait in memory"
        self._waiting = b""
        return None

    def sync(self) -> None:
        """Wait until the lines written so far are on the disk."""
        if self.path.exists():
            sync(self.path)

    def drop_after(self, run_step: int) -> None:
        """Forget lines past `run_step`, and a line that a crash cut short."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        # A resumed run does those steps again; both lines of a step would make every curve double
        # back.
        kept = [line for line in lines if _is_within(line, run_step)]
        write_text(self.path, "".join(line + "\n" for line in kept))


def _line(info: StepInfo) -> dict[str, Any]:
    """A step's fields, without `readings` and `watch` where it has none."""
    optional = ("readings", "watch")
    return {key: value for key, value in asdict(info).items() if value or key not in optional}


def _is_within(line: str, run_step: int) -> bool:
    try:
        return int(json.loads(line)["run_step"]) <= run_step
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False
