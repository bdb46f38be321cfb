"""A small sound packed model, made without torch."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "fuzz_packed.py"


@pytest.fixture(scope="session")
def fuzz() -> ModuleType:
    """bench/fuzz_packed.py as a module."""
    spec = importlib.util.spec_from_file_location("fuzz_packed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_packed"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def packed(tmp_path: Path, fuzz: ModuleType) -> Callable[..., Path]:
    """Write a sound model whose configuration has the given changes; returns its folder."""

    def make(**changes: Any) -> Path:
        config = fuzz.TINY | changes
        folder = tmp_path / "packed"
        folder.mkdir(exist_ok=True)
        fuzz.write_sound(folder, config, *fuzz.sound(config, 0))
        return folder

    return make


@pytest.fixture
def drop_head() -> Callable[[Any], None]:
    return _drop_head


def _drop_head(case: Any) -> None:
    """Take the head out of a tied model, header and data."""
    table = json.loads(case.header["__metadata__"]["matrices"])
    table.pop("lm_head", None)
    case.header["__metadata__"]["matrices"] = json.dumps(table)
    entries = {n: e for n, e in case.header.items() if not n.startswith("lm_head.")}
    data, offset = bytearray(), 0
    for name, entry in entries.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            data += case.data[begin:end]
            entry["data_offsets"] = [offset, offset := offset + end - begin]
    case.header, case.data = entries, data
