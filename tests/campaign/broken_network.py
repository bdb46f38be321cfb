"""A package index on this machine whose packages come whole, stop coming, or break off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = {"PIP_DEFAULT_TIMEOUT": "1", "PIP_RETRIES": "0", "PIP_RESUME_RETRIES": "0"}
"""So that pip gives up in a second instead of in minutes."""


class Index(BaseHTTPRequestHandler):
    """One wheel; `trouble` is "" or what happens after half of it."""

    def __init__(self, *given: object, wheel: Path, trouble: str) -> None:
        self.wheel, self.trouble = wheel, trouble
        super().__init__(*given)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        data = self.wheel.read_bytes()
        if not self.path.endswith(".whl"):
            data = f'<a href="/{self.wheel.name}">{self.wheel.name}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.path.endswith(".whl") and self.trouble:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            time.sleep(30 if self.trouble == "hangs" else 0)
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *given: object) -> None:
        """Nothing: the table is the output."""


@contextmanager
def serving(wheel: Path, trouble: str) -> Iterator[dict[str, str]]:
    """Settings with which pip asks such an index, which is a process of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, wheel=wheel, trouble=trouble))
    pid = os.fork()
    if pid == 0:
        server.serve_forever()
    try:
        place = f"http://127.0.0.1:{server.server_port}/simple"
        yield {**PATIENCE, "PIP_INDEX_URL": place, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        server.server_close()
