"""A student that is served by a process of its own, on the loopback address."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SERVE = "from asnn_goose.cli import app; app()"


@dataclass(frozen=True, slots=True)
class Server:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    port: int

    @property
    def mebibytes(self) -> float:
        """Resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    @property
    def files(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def start(packed: str, threads: int, clients: int) -> Server:
    """Serve on a free port."""
    words = ["serve", packed, "--port", "0", "--threads", str(threads), "--slots", str(clients)]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *words], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            return Server(process, int(found[1]))
    raise SystemExit("the server has not started")
