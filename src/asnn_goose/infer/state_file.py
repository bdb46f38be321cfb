"""A state on disk: one line that says whose it is, then its bytes."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asnn_goose import disk
from asnn_goose.infer.backend import EngineError

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

MAGIC = b"asnn_goose_state 1 "
HEADER_BYTES = 8 << 20
"""Longest first line that is read: notes may hold a prompt's tokens."""


def fingerprint(model: PackedModel) -> str:
    """Checksum of a model's configuration and weights: a state fits only its own model."""
    text = json.dumps([model.config, model.matrices, model.crc32], sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"


def write_state(path: Path, data: bytes, header: dict[str, Any]) -> None:
    """Write a state in one piece: a crash leaves the old file or the new one."""
    content = MAGIC + json.dumps({**header, "crc32": f"{zlib.crc32(data):08x}"}).encode() + b"\n"
    disk.write_bytes(path, content + data)


def read_state(path: Path, *, fits: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The bytes and header of a stored state.

    Raises EngineError where the file is no state, is damaged, or its header differs from `fits`.
    """
    with path.open("rb") as file:
        header, data = _header(path, file.readline(HEADER_BYTES)), file.read()
    for key, wanted in fits.items():
        if header.get(key) != wanted:
            raise EngineError(
                f"{path} is a state of another model: its {key} is {header.get(key)!r},"
                f" this one's is {wanted!r}; load it with the model that wrote it"
            )
    if header.get("crc32") != f"{zlib.crc32(data):08x}":
        raise EngineError(f"{path} is damaged: its checksum does not fit; save it again")
    return data, header


def read_header(path: Path) -> dict[str, Any]:
    """The header of a stored state alone. Raises EngineError where the file is no state."""
    with path.open("rb") as file:
        return _header(path, file.readline(HEADER_BYTES))


def _header(path: Path, line: bytes) -> dict[str, Any]:
    if not line.startswith(MAGIC) or not line.endswith(b"\n"):
        raise EngineError(f"{path} holds no state: wanted a file that was saved by this program")
    try:
        header = dict(json.loads(line[len(MAGIC) :]))
        return {**header, "notes": dict(header.get("notes", {}))}
    except (ValueError, TypeError, RecursionError) as error:
        raise EngineError(f"{path}: the header is damaged ({error}): save it again") from error
