"""Checkpoints on the disk: written whole or not at all, verified when read.

A checkpoint is the folder checkpoints/step-00000120 with

- model.safetensors: trained weights and buffers
- optimiser.safetensors: moments, step counts, random number generators
- state.json: position in the run
- manifest.json: size and sha256 of the three

Where the student lies in parts (`sharded_stage`) a file of every process stands for the first two.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from asnn_goose import disk
from asnn_goose.train import shard_files
from asnn_goose.train.run_errors import CheckpointError

# Eight digits or more, so that names sort by step up to a hundred million; beyond, `_number` still
# does.
_NAME = re.compile(r"step-(\d{8,})")
_MODEL, _OPTIMISER, _STATE = "model.safetensors", "optimiser.safetensors", "state.json"
_MANIFEST = "manifest.json"
_MODELS, _OPTIMISERS = "model:", "optimiser:"
"""Whose a tensor is, before its name in a file of parts."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a run continues from: named tensors, and plain values that JSON can hold."""

    model: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def in_parts(self) -> bool:
        """Whether every process holds a part of it, so that all must write."""
        return shard_files.in_parts(self.model)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def steps(folder: Path) -> list[Path]:
    """Complete checkpoints in `folder`, newest first."""
    found = (path for path in folder.glob("step-*") if _NAME.fullmatch(path.name))
    return sorted(found, key=_number, reverse=True)


def _number(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def path_of(folder: Path, run_step: int) -> Path:
    """Where the checkpoint of a step is kept."""
    return folder / f"step-{run_step:08d}"


def write(folder: Path, *, run_step: int, snapshot: Snapshot) -> Path:
    """Write `folder`/step-<run_step>; a crash or a full disk leaves earlier ones untouched.

    The first process calls it; where the snapshot lies in parts, all do.
    Raises CheckpointError that says how much room is needed and left.
    """
    path = path_of(folder, run_step)
    fresh = shard_files.shared_folder if snapshot.in_parts else disk.new_folder
    try:
        with fresh(path) as temporary:
            if _write_tensors(temporary, snapshot):
                (temporary / _STATE).write_text(json.dumps(snapshot.state))
                # The manifest is the last file: whatever it vouches for is written by then.
                (temporary / _MANIFEST).write_text(json.dumps(_manifest(temporary), indent=1))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(_write_failure(path, snapshot, error)) from error
    return path


def _write_tensors(folder: Path, snapshot: Snapshot) -> bool:
    """Write them; True where the rest of the checkpoint is this process's to write."""
    if snapshot.in_parts:
        named = {_MODELS: snapshot.model, _OPTIMISERS: snapshot.optimiser}
        parts = {kind + name: x for kind, found in named.items() for name, x in found.items()}
        return shard_files.write(folder, parts)
    save_file(snapshot.model, folder / _MODEL)
    save_file(snapshot.optimiser, folder / _OPTIMISER)
    return True


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    }


def _write_failure(path: Path, snapshot: Snapshot, error: Exception) -> str:
    # A full disk is the usual reason, and the message it comes with names no size.
    tensors = [*snapshot.model.values(), *snapshot.optimiser.values()]
    needed = sum(t.numel() * t.element_size() for t in tensors) / 1e6
    try:
        free = f"{shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free"
    except OSError:
        free = "the folder cannot be reached"
    kept = steps(path.parent)
    survivor = f"{kept[0].name} is still good" if kept else "there is no earlier one"
    return (
        f"checkpoint {path.name} could not be written ({error}): it needs {needed:.0f} MB and "
        f"{free} in {path.parent}; {survivor}"
    )


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None where every byte is as it was written."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        for name, known in sorted(manifest.items()):
            size = (path / name).stat().st_size
            # Sizes first: a file that was cut short is found without reading it.
            if size != known["bytes"]:
                return f"{name} has {size} bytes instead of {known['bytes']}"
            if sha256(path / name) != known["sha256"]:
                return f"the sha256 of {name} differs from the manifest"
        if not manifest.keys() >= {_STATE}:
            return f"{_MANIFEST} names no {_STATE}"
    except OSError as error:
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    # A manifest of another shape is as useless as one that is no JSON.
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} cannot be read"
    return None


def newest(folder: Path, *, tell: Callable[[str], None]) -> Path | None:
    """Newest undamaged checkpoint, or None where none was ever written.

    A damaged one is reported, renamed to `*.damaged` and passed over.
    Raises CheckpointError where all are damaged.
    """
    found = steps(folder)
    for path in found:
        fault = damage(path)
        if fault is None:
            return path
        # Renamed, not deleted: what is damaged may be the only copy of something, and its owner
        # decides.
        _set_aside(path)
        tell(f"checkpoint {path.name} is damaged ({fault}): falling back to the one before")
    if found:
        raise CheckpointError(
            f"all {len(found)} checkpoints in {folder} are damaged: start again in another folder"
        )
    return None


def _set_aside(path: Path) -> None:
    target = path.with_name(f"{path.name}.damaged")
    if target.exists():
        shutil.rmtree(target)
    path.rename(target)


def read(path: Path) -> Snapshot:
    """Load a checkpoint that `newest` found to be whole."""
    state = json.loads((path / _STATE).read_text())
    if (path / _MODEL).exists():
        model, optimiser = load_file(path / _MODEL), load_file(path / _OPTIMISER)
        return Snapshot(model=model, optimiser=optimiser, state=state)
    parts = shard_files.read(path)
    model, optimiser = (
        {name.removeprefix(kind): x for name, x in parts.items() if name.startswith(kind)}
        for kind in (_MODELS, _OPTIMISERS)
    )
    return Snapshot(model=model, optimiser=optimiser, state=state)


def prune(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in steps(folder)[keep:]:
        shutil.rmtree(path)
