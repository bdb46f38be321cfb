"""The folder of a run: recipe.toml, metrics.jsonl, checkpoints/ and, at the end, model/."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from asnn_goose import disk, leftovers
from asnn_goose.train.metrics import MetricsLog
from asnn_goose.train.plan import Saveable
from asnn_goose.train.run_errors import RunFolderError

_LOCK = ".lock"
TEXTS = "texts.json"
"""What a run must share with one that continues it, texts by their content among it."""


class RunFolder:
    """Paths of a run, and what is written to them once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.metrics = MetricsLog(path / "metrics.jsonl")

    def check(self, *, resume: bool) -> None:
        """Raise RunFolderError unless the folder is free, or with `resume` holds a run."""
        if resume and not self.recipe.exists():
            raise RunFolderError(f"there is no run to resume in {self.path}: it has no recipe.toml")
        if not resume and self.is_used():
            raise RunFolderError(
                f"{self.path} is not empty: resume its run, or choose another folder"
            )

    def begin(self, recipe_toml: str, *, identity: Mapping[str, str], resume: bool) -> None:
        """Clear up after a crash and, for a new run, write the recipe and a note of its texts.

        Only with the lock held. Raises RunFolderError as `check` does, which was asked before it
        was: meanwhile another process may have trained here to its end.
        """
        self.check(resume=resume)
        with _reported(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            # Only now that the lock is held: half-written folders of a process that still runs are
            # not left over.
            leftovers.remove_leftovers(self.path)
            leftovers.remove_leftovers(self.checkpoints)
            if not self.recipe.exists():
                # Before the recipe: a folder with a recipe counts as a run, and is then complete.
                disk.write_text(self.path / TEXTS, json.dumps(dict(identity), indent=1) + "\n")
                disk.write_text(self.recipe, recipe_toml)

    def rewind_metrics(self, run_step: int) -> None:
        """Drop the lines of metrics.jsonl past a step."""
        with _reported(self.path):
            self.metrics.drop_after(run_step)

    def is_used(self) -> bool:
        """True where the folder holds anything but the beginnings of a run that was killed."""
        return self.path.exists() and not all(self._is_beginning(e) for e in self.path.iterdir())

    def _is_beginning(self, entry: Path) -> bool:
        """Whether `begin` has made an entry before the recipe, without which there is no run."""
        if entry == self.checkpoints:
            return not any(entry.iterdir())
        return entry.name in (_LOCK, TEXTS) or leftovers.is_leftover(entry)

    def write_model(self, student: Saveable, tokenizer: Saveable) -> None:
        """Write model/ in the layout of Transformers, all of it or nothing.

        Raises RunFolderError where the disk does not take it.
        """
        try:
            with disk.new_folder(self.model) as temporary:
                student.save_pretrained(temporary)
                tokenizer.save_pretrained(temporary)
        except OSError as error:
            raise RunFolderError(
                f"{self.model} could not be written ({error}); the last checkpoint is good: "
                "make room and resume it"
            ) from error


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a RunFolderError."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def locked(path: Path, *, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder against a second process; the lock falls with the process that holds it.

    Raises RunFolderError where another process trains there.
    """
    with _reported(path):
        path.mkdir(parents=True, exist_ok=True)
        # The file stays: to delete it at the end would race with a process that has just opened it.
        file = (path / _LOCK).open("w")
    with file:
        try:
            # A lock of the kernel and not a file with a number in it: it falls with the process,
            # however that ends.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(f"another process is training in {path}") from error
        except OSError as error:
            # Some network disks know no locks; that is no reason not to train.
            tell(f"{path} cannot be locked ({error.strerror}): take care to train there only once")
        yield
