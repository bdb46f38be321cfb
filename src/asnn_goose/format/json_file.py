"""JSON from a stranger: small, without doubled keys, and never a surprise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asnn_goose.shape.packed_error import PackedError, wrong

CONFIG_BYTES = 1 << 20


def parse_object(text: bytes | str, *, file: Path, what: str) -> dict[str, Any]:
    """A JSON object. Raises PackedError for anything else, and where a key comes twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        # Readers differ in which of two equal keys counts: a file that says two things says
        # nothing.
        if len(found) < len(pairs):
            raise ValueError("a key comes twice")
        return found

    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=unique)
    # Nesting without end is an attack that json answers with a RecursionError.
    except (ValueError, RecursionError) as error:
        raise PackedError(f"{file}: {what} is not sound JSON ({error}); write it anew") from error
    if not isinstance(value, dict):
        raise wrong(file, what, value, "a JSON object")
    return value


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file of at most 1 MiB."""
    try:
        with file.open("rb") as stream:
            # One more than allowed: the size is found out without trusting what the system says of
            # it.
            text = stream.read(CONFIG_BYTES + 1)
    except OSError as error:
        raise PackedError(f"{file}: cannot be read ({error.strerror})") from error
    if len(text) > CONFIG_BYTES:
        raise wrong(file, "its size", f"over {CONFIG_BYTES} bytes", "that of a configuration")
    return parse_object(text, file=file, what="the text")
