"""Files of a cached package, and what is said when they are not there."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

from asnn_goose.data.document import DataError

_DECLARED = re.compile(rb"charset=[\"']?([\w-]+)", re.IGNORECASE)


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Files of a pattern, in order. Raises DataError where there is none."""
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    if not files:
        raise DataError(f"no {pattern} in {folder}: the cached package is not whole; delete it")
    return files


def json_of(file: Path) -> Any:
    """Content of a JSON file. Raises DataError where it cannot be read."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not readable: {error}; delete the cached package") from error


def bytes_of(file: Path) -> bytes:
    """Content of a file, unpacked where it is gzipped. Raises DataError where it is unreadable."""
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is not readable: {error}; delete the cached package") from error


def text_of(file: Path) -> str:
    """Text of a file, gzipped or not: in the charset it declares, UTF-8, or else Windows-1252.

    Raises DataError where it is unreadable.
    """
    content = bytes_of(file)
    declared = _DECLARED.search(content[:2048])
    for charset in filter(None, (declared and declared[1].decode(), "utf-8")):
        try:
            return content.decode(charset)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("cp1252", errors="replace")
