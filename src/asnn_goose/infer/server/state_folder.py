"""States of prefixes on disk, so that a new server goes on where the last one ended."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from asnn_goose import leftovers
from asnn_goose.infer.backend import EngineError, SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.prefixes import WIDTH
from asnn_goose.infer.state_file import fingerprint, read_header

logger = logging.getLogger(__name__)


class StateFolder:
    """A folder of states, least recently used first to go; one folder serves many students.

    Each is a file HASH.state, as `Engine.save` writes it, with what the state has read among its
    notes. Several servers may share a folder: what one of them removes, the others read again.

    limit  bytes of states, for this student
    """

    def __init__(self, root: Path, engine: Engine, *, limit: int) -> None:
        self._engine, self._limit = engine, limit
        self._folder = root / f"{fingerprint(engine.model)}-{engine.backend}"
        self._folder.mkdir(parents=True, exist_ok=True)
        leftovers.remove_leftovers(self._folder)
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
            state, notes = self._engine.load_state(self._file(key))
            if state.position != len(key) // WIDTH or _tokens(notes) != key:
                raise EngineError(f"{self._file(key)}: has read other tokens than its name says")
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
        try:
            # One file and not two: there is no moment at which half of it is there.
            self._engine.save(state, self._file(key), tokens=key.hex())
        except OSError as error:
            logger.warning("a state is not kept on disk: %s", error)
        finally:
            self._written.pop(key, None)

    def _remove(self, key: bytes) -> None:
        self._file(key).unlink(missing_ok=True)

    def _found(self) -> Iterator[tuple[bytes, int]]:
        """Keys and sizes, the oldest first; what is no state of its name is removed."""
        states = []
        for file in self._folder.glob("*.state"):
            # Another server may remove it at any moment.
            with suppress(OSError):
                key, found = _key_of(file), file.stat()
                if _name(key) == file.stem:
                    states.append((found.st_mtime, key, found.st_size))
                else:
                    file.unlink()
        yield from ((key, size) for _, key, size in sorted(states))


def _name(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:32]


def _key_of(file: Path) -> bytes:
    """What the state in a file has read; nothing where it does not say so."""
    try:
        header = read_header(file)
    except EngineError:
        return b""
    return _tokens(header["notes"])


def _tokens(notes: Mapping[str, Any]) -> bytes:
    said = notes.get("tokens")
    try:
        return bytes.fromhex(said) if isinstance(said, str) else b""
    except ValueError:
        return b""
