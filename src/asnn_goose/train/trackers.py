"""Trackers beside metrics.jsonl, through accelerate: TensorBoard, Weights & Biases, Trackio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from asnn_goose.train.progress import StepInfo
from asnn_goose.train.run_errors import TrainError

TRACKERS: dict[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""Names that a recipe may give, and the packages of which one must be installed."""

_VALUES = ("loss", "lr", "grad_norm", "tokens_seen", "tokens_per_s", "memory_bytes", "seconds")


class TrackerError(TrainError):
    """A tracker that the recipe names is not installed."""


def check_installed(names: Sequence[str]) -> None:
    """Raise TrackerError naming the package that a tracker lacks."""
    for name in names:
        # Asked before the teacher is loaded, not found out when the first step is to be logged.
        if not any(find_spec(package) for package in TRACKERS[name]):
            raise TrackerError(
                f"log.trackers has {name!r}, and the package {TRACKERS[name][0]} is not installed: "
                f"pip install {TRACKERS[name][0]}, or leave it out"
            )


def begin(accelerator: Accelerator, *, run: Path, recipe_toml: str) -> None:
    """Start the accelerator's trackers, if it has any; they write below `run`/trackers."""
    if accelerator.log_with:
        accelerator.project_configuration.logging_dir = str(run / "trackers")
        accelerator.init_trackers(run.name, config={"recipe": recipe_toml})


def log(accelerator: Accelerator, info: StepInfo) -> None:
    """Send one step to the trackers."""
    if accelerator.trackers:
        accelerator.log(numbers(info), step=info.run_step)


def numbers(info: StepInfo) -> dict[str, float]:
    """The numbers of a step under flat names; those of tables as `table/name`."""
    tables = {"terms": info.terms, "readings": info.readings, "watch": info.watch or {}}
    return {name: float(getattr(info, name)) for name in _VALUES} | dict(_flat(tables))


def _flat(values: Mapping[str, Any], place: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in values.items():
        name = f"{place}/{key}" if place else key
        found += _flat(value, name) if isinstance(value, Mapping) else [(name, float(value))]
    return found
