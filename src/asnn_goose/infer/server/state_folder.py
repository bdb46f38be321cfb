"""States of prefixes on disk, so that a new server goes on where the last one ended."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from asnn_goose.infer.backend import EngineError, SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.prefixes import WIDTH
from asnn_goose.infer.state_file import fingerprint

logger = logging.getLogger(__name__)


class StateFolder:
    """A folder of states, least recently used first to go; one folder serves many students.

    Of each there are two files: HASH.state, as `Engine.save` writes it, and then HASH.tokens, what
    the state has read. A state whose second file is missing or does not fit its name is none.

    limit  bytes of states, for this student
    """

    def __init__(self, root: Path, engine: Engine, *, limit: int) -> None:
        self._engine, self._limit = engine, limit
        self._folder = root / f"{fingerprint(engine.model)}-{engine.backend}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="states")
        self._written: dict[bytes, Future[None]] = {}
        self._sizes: OrderedDict[bytes, int] = OrderedDict(self._found())

    def __contains__(self, key: bytes) -> bool:
        return key in self._sizes

    def keys(self) -> list[bytes]:
        """What there are states of, the least recently used first."""
        return list(self._sizes)

    def load(self, key: bytes) -> SequenceState | None:
        """The state of a key; None, and forgotten, where it cannot be read or is not ours."""
        # Its file is still on the way to the disk.
        if (pending := self._written.get(key)) is not None:
            pending.result()
        try:
            state, _ = self._engine.load_state(self._file(key))
            # Hash and file may belong to two writers that shared a folder.
            if state.position != len(key) // WIDTH:
                raise EngineError(f"{self._file(key)}: has read another number of tokens")
        except (EngineError, ValueError, OSError) as error:
            logger.warning("a kept state is refused: %s", error)
            self.drop(key)
            return None
        self._sizes.move_to_end(key)
        return state

    def write(self, key: bytes, state: SequenceState) -> list[bytes]:
        """Write a state, which must not change any more; keys that had to go for it."""
        self._sizes[key] = state.nbytes + len(key)
        self._written[key] = self._writer.submit(self._write, key, state)
        gone = []
        while sum(self._sizes.values()) > self._limit and self._sizes:
            gone.append(next(iter(self._sizes)))
            self.drop(gone[-1])
        return gone

    def drop(self, key: bytes) -> None:
        """Remove a state."""
        self._sizes.pop(key, None)
        # By the same thread that writes: a removal never overtakes the writing of what it removes.
        self._writer.submit(self._remove, key)

    def close(self) -> None:
        """Wait until everything is written."""
        self._writer.shutdown()

    def _file(self, key: bytes) -> Path:
        return self._folder / f"{_name(key)}.state"

    def _write(self, key: bytes, state: SequenceState) -> None:
        file = self._file(key)
        try:
            self._engine.save(state, file)
            # Last: a state whose tokens are not there is none, so a crash between the two leaves
            # nothing half.
            file.with_suffix(".tokens").write_bytes(key)
        except OSError as error:
            logger.warning("a state is not kept on disk: %s", error)
        finally:
            self._written.pop(key, None)

    def _remove(self, key: bytes) -> None:
        file = self._file(key)
        for path in (file.with_suffix(".tokens"), file):
            path.unlink(missing_ok=True)

    def _found(self) -> Iterator[tuple[bytes, int]]:
        states = [(file.stat().st_mtime, file) for file in self._folder.glob("*.state")]
        for _, file in sorted(states):
            tokens = file.with_suffix(".tokens")
            key = tokens.read_bytes() if tokens.is_file() else b""
            if _name(key) == file.stem:
                yield key, file.stat().st_size + len(key)


def _name(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:32]
