"""DOT, projection, watchman, end and curriculum in whole runs, also broken off and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from asnn_goose.data.loader import Pool, Subset, WindowLoader
from asnn_goose.train import trackers
from asnn_goose.train.dot import DotSettings
from asnn_goose.train.early_stopping import EndSettings
from asnn_goose.train.gradient_monitor import WatchSettings
from asnn_goose.train.gradient_projection import ProjectSettings
from asnn_goose.train.gradient_rule import SumSettings
from asnn_goose.train.loop import run
from asnn_goose.train.run_errors import TrainError
from asnn_goose.train.together import check_alone
from asnn_goose.train.trackers import TrackerError, check_installed
from asnn_goose.train.validation import Validation


def taught(tiny: ModuleType, *, pool: bool = False, project: bool = False) -> Any:
    """One distill stage with all else on and DOT or projection, or two phases of a curriculum."""
    plan = tiny.plan(accumulate=2, noise=False, steps=(1, 8))
    stage = plan.stages[1]

    def loader(subset: Subset | None = None) -> WindowLoader:
        return WindowLoader([tiny.shard()], window=32, batch=2, seed=5, subset=subset)

    if pool:
        shared = Pool(loader(), count=6)
        halves = [
            replace(stage, name=f"d{s}", pool=shared, loader=loader(Subset(pool=shared, share=s)))
            for s in (0.5, 1.0)
        ]
        short = [replace(h, schedule=replace(h.schedule, steps=4)) for h in halves]
        return replace(plan, stages=tuple(short))
    end = EndSettings(
        by="validation",
        every=2,
        patience=1,
        min_delta=0.3,
        validation=Validation(loader=loader(), batches=2),
    )
    rule = ProjectSettings() if project else DotSettings()
    every = replace(stage, watch=WatchSettings(every=2), end=end, rule=rule)
    return replace(plan, stages=(every,))


def lines(out: Path) -> list[dict[str, Any]]:
    timed = {"tokens_per_s", "eta_s", "memory_bytes", "seconds"}
    read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in timed} for line in read]


@pytest.fixture(scope="module")
def whole(
    tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Any]]:
    """Run folder of a plan carried out at one go, and who watched."""

    @cache
    def make(**settings: bool) -> tuple[Path, Any]:
        out, watcher = tmp_path_factory.mktemp("taught") / "run", tiny.Watcher()
        run(taught(tiny, **settings), out=out, resume=False, progress=watcher)
        return out, watcher

    return make


@pytest.mark.parametrize(
    ("settings", "at"),
    [({}, 3), ({"project": True}, 3), ({"pool": True}, 3), ({"pool": True}, 5)],
)
def test_a_crash_changes_nothing(
    tiny: ModuleType,
    whole: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    crash: Callable[..., None],
    settings: dict[str, bool],
    at: int,
) -> None:
    sound, broken = whole(**settings)[0], tmp_path / "broken"
    crash(taught(tiny, **settings), broken, at=at)
    run(taught(tiny, **settings), out=broken, resume=True, progress=tiny.Watcher())
    assert tiny.weights(sound) == tiny.weights(broken)
    assert lines(sound) == lines(broken)


def test_what_is_seen_is_written_down(whole: Callable[..., tuple[Path, Any]]) -> None:
    out, watcher = whole()
    found = lines(out)
    assert ["watch" in line for line in found[:4]] == [False, True, False, True]
    assert set(found[1]["watch"]["share"]) == {"kl", "ce"}
    assert "kl/ce" in found[1]["watch"]["cosine"]["matrix"]
    assert found[1]["readings"]["validation"] > 0
    assert len(found) < 8  # no loss falls by 0.3 at every look: it ends before its budget
    assert found[-1]["tokens_seen"] == found[-1]["tokens_total"]
    assert any("ends after" in text for text in watcher.messages)


@pytest.mark.parametrize("key", ["dot", "project", "watch"])
def test_several_processes_are_refused(tiny: ModuleType, key: str) -> None:
    stage = taught(tiny, project=key == "project").stages[0]
    stage = replace(stage, rule=SumSettings()) if key == "watch" else replace(stage, watch=None)
    with pytest.raises(TrainError, match=rf"\[stage.{key}\] and 2 processes"):
        check_alone(stage, SimpleNamespace(num_processes=2))  # type: ignore[arg-type]


class Fake(GeneralTracker):
    """A tracker that keeps what it is given."""

    name = "fake"
    requires_logging_directory = False
    tracker = None

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, dict[str, float]]] = []

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configuration = values

    def log(self, values: dict[str, float], step: int | None = None, **kwargs: Any) -> None:
        self.seen.append((step or 0, values))


def test_trackers_get_the_numbers_of_every_line(tiny: ModuleType, tmp_path: Path) -> None:
    fake = Fake()
    plan = taught(tiny)
    plan = replace(plan, accelerator=Accelerator(mixed_precision="no", log_with=[fake]))
    run(plan, out=tmp_path / "run", resume=False, progress=tiny.Watcher())
    assert [step for step, _ in fake.seen] == [line["run_step"] for line in lines(tmp_path / "run")]
    assert fake.configuration == {"recipe": plan.recipe_toml}
    assert {"loss", "terms/kl", "readings/validation", "watch/share/ce"} <= set(fake.seen[1][1])


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(TrackerError, match=r"'wandb', and the package wandb .* pip install wandb"):
        check_installed(["wandb"])
