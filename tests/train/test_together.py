"""A process that is gone is said, a bug stays one, and what parts cannot do is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from torch.distributed.checkpoint.api import CheckpointException

from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.train import shard_files
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.run_errors import ProcessLost, TrainError
from asnn_goose.train.sharded_stage import check_sharded, check_sizes
from asnn_goose.train.together import together
from asnn_goose.train.validation import Validation

SAID = "[gloo/transport/tcp/pair.cc:547] Connection closed by peer"


def raised(said: str, *, processes: int, saved: Path | None = None) -> None:
    several: Any = SimpleNamespace(num_processes=processes)
    with together(several, saved=lambda: saved):
        raise RuntimeError(said)


def test_the_last_checkpoint_is_named() -> None:
    with pytest.raises(ProcessLost, match=r"has ended; resume it from step-3 \(\[gloo"):
        raised(SAID, processes=2, saved=Path("step-3"))
    with pytest.raises(ProcessLost, match="there is no checkpoint yet"):
        raised(SAID, processes=2)


@pytest.mark.parametrize(("said", "processes"), [("a bug", 2), (SAID, 1)])
def test_anything_else_is_left_alone(said: str, processes: int) -> None:
    with pytest.raises(RuntimeError) as found:
        raised(said, processes=processes)
    assert type(found.value) is RuntimeError


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reference": object()}, "stage 'distill' has pairs of answers, and train.shard = true"),
        ({"pool": object()}, "stage 'distill' has curriculum, and train.shard = true"),
        (
            {"end": EndSettings(by="validation", validation=Validation(loader=None, batches=1))},
            "stage 'distill' has end.by = 'validation', and train.shard = true",
        ),
    ],
)
def test_what_looks_at_a_student_in_parts_is_refused(
    tiny: ModuleType, changed: dict[str, Any], said: str
) -> None:
    stage = tiny.plan(noise=False).stages[1]
    check_sharded(stage)
    with pytest.raises(TrainError, match=said):
        check_sharded(replace(stage, **changed))


def test_a_single_number_cannot_be_shared(tiny: ModuleType) -> None:
    stage = tiny.plan(noise=False, feature=True).stages[1].stage
    stage.introduce()
    with pytest.raises(TrainError, match=r"bias is a single number, and train\.shard = true"):
        check_sizes(stage)


def test_what_a_first_batch_sets_would_be_forgotten_in_parts(tiny: ModuleType) -> None:
    whole = tiny.plan(noise=False)
    stage = whole.stages[1].stage
    whole.student.set_precision(PrecisionTable({"down": {"sub_norm": True}}))
    with pytest.raises(TrainError, match=r"down\.sub_norm sets a parameter on its first batch"):
        check_sizes(stage)


def test_a_checkpoint_that_somebody_cannot_write_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def save(*args: Any, **named: Any) -> None:
        raise CheckpointException("save", {1: (OSError(28, "No space left on device"), None)})

    monkeypatch.setattr(shard_files, "save", save)
    monkeypatch.setattr(shard_files.dist, "get_rank", lambda: 1)
    with pytest.raises(OSError, match="No space left on device"):
        shard_files.write(tmp_path, {})
