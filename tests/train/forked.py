"""The tiny run in processes that are forked from one with all its imports: they start at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

IMPORTS = [
    *("accelerate", "transformers.models.llama.modeling_llama", "asnn_goose.model.convert"),
    *("asnn_goose.train.loop", "asnn_goose.train.stages", "asnn_goose.losses"),
]


class Forked:
    """`python tiny_run.py OPTIONS` under way: what it prints, and signals to it."""

    def __init__(self, *options: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTS)
        (out, its_out), (errors, its_errors) = (context.Pipe(duplex=False) for _ in range(2))
        self._process = context.Process(target=_carry_out, args=(options, its_out, its_errors))
        self._process.start()
        its_out.close()
        its_errors.close()
        self.stdout, self._errors = _text(out), _text(errors)

    def send_signal(self, number: int) -> None:
        """A signal to it alone."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit code, negative for a signal."""
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"still runs after {timeout} s"
        return code

    def ended(self, timeout: float = 120) -> tuple[int, str, str]:
        """Exit code, and what it printed that nobody has read yet."""
        out, errors = self.stdout.read(), self._errors.read()
        return self.wait(timeout), out, errors


def _text(connection: Connection) -> TextIO:
    """What comes through a pipe; the pipe is the file's from now on."""
    descriptor = os.dup(connection.fileno())
    connection.close()
    return os.fdopen(descriptor, encoding="utf-8")


def _carry_out(options: tuple[str, ...], out: Connection, errors: Connection) -> None:
    os.dup2(out.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    out.close()
    errors.close()
    # Fresh ones: those of the server were made before the descriptors were these.
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
    sys.path.insert(0, str(Path(__file__).parent))
    sys.argv = ["tiny_run.py", *options]
    import tiny_run

    code = tiny_run.main()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
