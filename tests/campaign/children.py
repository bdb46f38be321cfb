"""Commands in forked processes: what all of them import is imported once."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.campaign.shim import build

from asnn_goose.cli import app

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "COLUMNS": "100",
    "HF_HUB_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
COMMON = (
    *("asnn_goose.recipe.build", "asnn_goose.recipe.run", "asnn_goose.report"),
    *("asnn_goose.subject.torch_model", "asnn_goose.export.packed", "asnn_goose.teachers.lab"),
    *("transformers.models.llama.modeling_llama", "transformers.generation"),
)

OWN_STATE = {"multiprocessing", "__main__", "__mp_main__"}
"""Modules that begin something when they are imported."""

BUG = 70
"""Exit code of a command that ended in a traceback."""

PATIENCE_S = 900
"""No command here takes as long."""


def with_shim(folder: Path) -> None:
    """Start this program again with the shim before libc, unless it is there already."""
    from tests.campaign.shim import is_loaded

    if not is_loaded():
        own = {**os.environ, **SETTINGS, "LD_PRELOAD": str(build(folder))}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], own)


def preload(names: Iterable[str] = COMMON) -> None:
    """Import what commands import, so that those that are forked later find it there."""
    for name in names:
        if name not in sys.modules and name.partition(".")[0] not in OWN_STATE:
            with suppress(ImportError):  # a name that a package made up
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or a fork's first collection copies every page


@dataclass
class Child:
    """A process that carries out a command, the first of a session of its own."""

    pid: int
    log: Path
    began: float = field(default_factory=time.monotonic)
    code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """The exit code. Raises TimeoutError, with the process killed."""
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(f"still runs after {seconds:.0f} s: {self.said()}")
            time.sleep(0.002)
        return int(self.code or 0)

    def send(self, number: int) -> None:
        """A signal, to it alone: as from the system, not from a terminal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def said(self) -> str:
        """What it printed."""
        return self.log.read_text("utf-8", errors="replace")


MARK = "GOOSE_CAMPAIGN"
"""Variable of the environment by which whatever a command has started is known."""


def left_running(mark: str) -> list[int]:
    """Processes of a command that outlived it: sessions of their own do not hide them."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


def start(
    words: list[str],
    *,
    work: Path,
    log: Path,
    settings: dict[str, str],
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> Child:
    """Carry out a command line in a fork of this process; `before` and `after` run in it too."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.environ.update(settings)
        os.chdir(work)
        _carry_out(words, log=log, before=before, after=after)
    return Child(pid, log)


def _carry_out(
    words: list[str],
    *,
    log: Path,
    before: Callable[[], object],
    after: Callable[[], object],
) -> NoReturn:
    code = BUG
    try:
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        app(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        after()
        os._exit(code)
