from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asnn_goose.train import checkpoint
from asnn_goose.train.checkpoint import Snapshot
from asnn_goose.train.run_errors import CheckpointError


def snapshot(value: float = 1.0) -> Snapshot:
    return Snapshot(
        model={"student.w": torch.full((3, 2), value)},
        optimiser={"rng/0/cpu": torch.arange(5, dtype=torch.uint8)},
        state={"position": {"step": 3}},
    )


def write(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.write(folder, run_step=step, snapshot=snapshot(step))


def silent(text: str) -> None:
    raise AssertionError(text)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, run_step=12, snapshot=snapshot())
    assert path.name == "step-00000012"
    assert {file.name for file in path.iterdir()} == {
        "model.safetensors",
        "optimiser.safetensors",
        "state.json",
        "manifest.json",
    }
    read = checkpoint.read(path)
    assert torch.equal(read.model["student.w"], torch.ones(3, 2))
    assert read.optimiser["rng/0/cpu"].dtype == torch.uint8
    assert read.state == snapshot().state


def test_newest_comes_first_by_number(tmp_path: Path) -> None:
    write(tmp_path, 9, 100, 20)
    (tmp_path / "step-x").mkdir()
    assert [path.name[-3:] for path in checkpoint.steps(tmp_path)] == ["100", "020", "009"]
    assert checkpoint.newest(tmp_path, tell=silent) == tmp_path / "step-00000100"


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, 4)
    checkpoint.prune(tmp_path, keep=2)
    assert [path.name[-1] for path in checkpoint.steps(tmp_path)] == ["4", "3"]


@pytest.mark.parametrize(
    "file", ["model.safetensors", "optimiser.safetensors", "state.json", "manifest.json"]
)
@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_any_damage_is_noticed(tmp_path: Path, file: str, how: str) -> None:
    write(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / file
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif how == "truncate":
        path.write_bytes(content[:-3])
    else:
        path.unlink()
    told: list[str] = []
    assert checkpoint.newest(tmp_path, tell=told.append) == tmp_path / "step-00000001"
    assert len(told) == 1
    assert "step-00000002 is damaged" in told[0]
    assert (tmp_path / "step-00000002.damaged").exists()
    write(tmp_path, 2)  # the number is free again
    assert checkpoint.newest(tmp_path, tell=silent) == tmp_path / "step-00000002"


def test_a_checkpoint_damaged_twice_is_set_aside_twice(tmp_path: Path) -> None:
    write(tmp_path, 1)
    for _ in range(2):
        write(tmp_path, 2)
        (tmp_path / "step-00000002" / "state.json").unlink()
        assert checkpoint.newest(tmp_path, tell=lambda text: None) == tmp_path / "step-00000001"


def test_none_is_no_error_but_all_damaged_is(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path, tell=silent) is None
    write(tmp_path, 1)
    (tmp_path / "step-00000001" / "manifest.json").write_text("[]")
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        checkpoint.newest(tmp_path, tell=lambda text: None)


def test_failed_write_names_room_and_survivor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError) as failed:
        checkpoint.write(tmp_path, run_step=2, snapshot=snapshot())
    assert "step-00000001 is still good" in str(failed.value)
    assert "MB are free" in str(failed.value)


def test_no_pickle_anywhere(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, run_step=1, snapshot=snapshot())
    json.loads((path / "state.json").read_text())
    for file in path.glob("*.safetensors"):
        header = int.from_bytes(file.read_bytes()[:8], "little")
        json.loads(file.read_bytes()[8 : 8 + header])
