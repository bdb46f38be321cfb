"""What of a run folder counts as a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from asnn_goose import disk
from asnn_goose.train import loop
from asnn_goose.train.folder import RunFolder, locked
from asnn_goose.train.run_errors import RunFolderError


def test_a_run_that_was_killed_before_its_recipe_may_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = RunFolder(tmp_path), disk.write_text

    def killed(path: Path, text: str) -> None:
        if path.name == "recipe.toml":
            raise KeyboardInterrupt
        written(path, text)

    with monkeypatch.context() as patch, locked(tmp_path, tell=print):
        patch.setattr(disk, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.begin("", identity={})
    assert (tmp_path / "texts.json").exists()
    folder.check(resume=False)
    folder.begin("", identity={})
    with pytest.raises(RunFolderError, match="not empty"):
        folder.check(resume=False)


def test_a_run_that_ended_before_the_lock_was_free_is_left_alone(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def after_another(path: Path, *, tell: Callable[[str], None]) -> Iterator[None]:
        with locked(path, tell=tell):
            RunFolder(path).begin("another's", identity={})
        with locked(path, tell=tell):
            yield

    monkeypatch.setattr(loop, "locked", after_another)
    with pytest.raises(RunFolderError, match="not empty: resume its run"):
        tiny.train(tmp_path / "run")
    assert (tmp_path / "run" / "recipe.toml").read_text() == "another's"
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("name", ["texts.json.bak", "checkpoints/step-00000001", "notes"])
def test_what_is_somebody_elses_is_not_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder(tmp_path).check(resume=False)
