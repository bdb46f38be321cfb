"""What a run has read is known by its note, and a note that cannot be read is no empty one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asnn_goose.recipe import RecipeError
from asnn_goose.recipe.read_texts import NOTED, trained_hashes


def run_with(folder: Path, note: str | None) -> Path:
    folder.mkdir()
    (folder / "recipe.toml").write_text("[tuned_teacher]\n")
    if note is not None:
        (folder / "texts.json").write_text(note)
    return folder


def test_the_note_of_a_run_and_of_its_model_folder(tmp_path: Path) -> None:
    note = {f"{NOTED}0": json.dumps({"version": "abc/train"}), "seed": "3"}
    run = run_with(tmp_path / "run", json.dumps(note))
    assert trained_hashes(str(run)) == trained_hashes(str(run / "model")) == {"abc"}
    assert trained_hashes(str(run_with(tmp_path / "old", None))) == frozenset()
    assert trained_hashes(str(tmp_path)) == frozenset()


@pytest.mark.parametrize("note", ["", "[1]", "{cut", json.dumps({f"{NOTED}0": "x"})])
def test_a_damaged_note_is_no_empty_one(tmp_path: Path, note: str) -> None:
    run = run_with(tmp_path / "run", note)
    with pytest.raises(RecipeError, match=r"texts\.json is damaged"):
        trained_hashes(str(run))
