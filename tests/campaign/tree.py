"""What a folder holds, without what differs between two sound runs: times, speeds, log files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asnn_goose.format.record_file import RecordFolder

VOLATILE = {
    *("seconds", "tokens_per_s", "eta_s", "memory_bytes", "train_seconds", "duration_s"),
    *("on disk", "peak_bytes", "date", "clock", "time"),
}
"""Keys of JSON that hold times, speeds, and places on the disk."""

IGNORED = {".lock", "report.html", "plot.svg", "plot.png", "table.md"}
"""Files whose bytes hold times; their names count."""


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in VOLATILE}
    return [_without(v) for v in value] if isinstance(value, list) else value


def _of_json(file: Path) -> str:
    found = _without(json.loads(file.read_text("utf-8")))
    if file.name == "manifest.json":
        found.pop("state.json", None)  # its seconds are in the digest
    return json.dumps(found, sort_keys=True)


def _of_lines(file: Path) -> str:
    lines = file.read_text("utf-8").splitlines()
    return "\n".join(json.dumps(_without(json.loads(line)), sort_keys=True) for line in lines)


def _of_bytes(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


READERS: dict[str, Callable[[Path], str]] = {".json": _of_json, ".jsonl": _of_lines}


def contents(folder: Path) -> dict[str, str]:
    """Every file under `folder` with what counts of it; folders too, with a slash behind.

    Files of records stand for what can be read out of them: a key each.
    """
    found: dict[str, str] = {}
    for place in sorted(folder.rglob("*")):
        name = str(place.relative_to(folder))
        if place.is_dir():
            found[f"{name}/"] = ""
        elif place.suffix == ".records":
            found |= {f"{Path(name).parent}/{k}": v for k, v in _records(place.parent).items()}
        elif place.name in IGNORED or place.suffix == ".log" or "outcome" in place.name:
            found[name] = ""
        else:
            found[name] = READERS.get(place.suffix, _of_bytes)(place)
    return found


def _records(folder: Path) -> dict[str, str]:
    records = RecordFolder(folder, about="", tell=lambda text: None)
    whole = {key: records.get(key) for key in list(records._places)}
    return {k.hex(): hashlib.sha256(v).hexdigest() for k, v in whole.items() if v is not None}


def differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is stale, missing or different, a line each."""
    lines = [f"left behind: {name}" for name in sorted(found.keys() - wanted.keys())]
    lines += [f"missing: {name}" for name in sorted(wanted.keys() - found.keys())]
    both = sorted(found.keys() & wanted.keys())
    return lines + [f"differs: {name}" for name in both if found[name] != wanted[name]]


def lost_steps(run: Path) -> list[str]:
    """What is wrong where a run that writes a checkpoint after every step lost more than one."""
    file = run / "metrics.jsonl"
    whole = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    logged = [json.loads(line)["run_step"] for line in whole if line.endswith("\n")]
    kept = [int(folder.name[5:]) for folder in (run / "checkpoints").glob("step-*")]
    last, saved = max(logged, default=0), max(kept, default=0)
    return [f"of {last} steps {saved} are in a checkpoint"] if last > saved + 1 else []
