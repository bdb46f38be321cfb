"""What a packed model was made of, by content: time stamps survive copies that content does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ORIGIN = "origin.json"
MADE_OF = {".safetensors", ".json", ".jinja"}
"""Files of a student's folder that decide what is packed."""


def origin(folder: Path) -> dict[str, Any]:
    """SHA-256 and identity on the disk of every file in a student's folder that is packed."""
    return {
        file.name: {"sha256": _hash(file), "on disk": _on_disk(file)} for file in _files(folder)
    }


def write_origin(packed: Path, *, source: Path) -> None:
    """Leave a note in a packed folder of what it was made of."""
    (packed / ORIGIN).write_text(json.dumps(origin(source), indent=1) + "\n", encoding="utf-8")


def is_made_of(packed: Path, *, source: Path) -> bool:
    """Whether the files of a student's folder are those that a packed model was made of.

    Of a file that lies untouched since then (the system's own change time, which no copy can set)
    the content is not read again.
    """
    try:
        noted = json.loads((packed / ORIGIN).read_text(encoding="utf-8"))
        return {file.name for file in _files(source)} == noted.keys() and all(
            noted[file.name]["on disk"] == _on_disk(file)
            or noted[file.name]["sha256"] == _hash(file)
            for file in _files(source)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no note, or none of ours


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in MADE_OF and file.is_file())


def _on_disk(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
