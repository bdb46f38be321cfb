from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from asnn_goose.data.loader import WindowLoader
from asnn_goose.data.repeats import RepeatLoader, Repeats
from asnn_goose.recipe import RecipeError, build_run, load_recipe
from asnn_goose.recipe.fit import repeated_pools
from asnn_goose.recipe.load import check_recipe
from asnn_goose.train.gradient_projection import ProjectSettings
from asnn_goose.train.gradient_rule import SumSettings
from asnn_goose.train.optimiser import LOSS_GROUP, AdamSettings, Trained, set_rate


@pytest.fixture
def curriculum(changed: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """A recipe whose second stage has one, with settings."""

    def make(*settings: str) -> Any:
        raw = changed("stage.1.tokens=64k", "stage.1.curriculum.kind=pocl", *settings)
        raw["stage"][1]["losses"].append({"name": "ce", "weight": 2.0})
        return check_recipe(raw, source="")

    return make


def test_a_curriculum_becomes_phases(curriculum: Callable[..., Any]) -> None:
    recipe = curriculum()
    tables, shares = zip(*recipe.stage[1].phases(), strict=True)
    assert shares == (0.25, 0.5, 0.75, 1.0)
    weights = [{loss.name: loss.weight for loss in table.losses} for table in tables]
    assert [w["kl"] for w in weights] == [0.7, 0.8, 0.9, 1.0]
    assert [w.get("ce", 0.0) for w in weights] == pytest.approx([0.6, 0.4, 0.2, 0.0])
    taus = [table.losses[0].term().loss.temperature for table in tables]
    assert taus == [1.0, 1.33, 1.67, 2.0]
    assert [table.tokens for table in tables] == [6400, 12800, 19200, 25600]
    names = [name for name, _ in recipe.trained_stages()]
    assert names == ["align", "distill.1", "distill.2", "distill.3", "distill.4"]


def test_a_preset_and_lists_of_one_s_own(curriculum: Callable[..., Any]) -> None:
    seed = curriculum("stage.1.curriculum.preset=seed").stage[1].curriculum.phases()
    assert len(seed) == 3
    assert [phase.kd_weight for phase in seed] == [0.9, 0.8, 0.7]
    own = [f"stage.1.curriculum.{key}=[0.5, 1.0]" for key in ("shares", "kd_weights", "parts")]
    phases = curriculum(*own, "stage.1.curriculum.temperatures=[3, 4]").stage[1].phases()
    assert [table.losses[0].term().loss.temperature for table, _ in phases] == [3.0, 4.0]
    assert phases[0][0].tokens == 21334


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stage.1.curriculum.shares=[0.5, 1.0]"], "2 shares, 4 temperatures"),
        (["stage.1.curriculum.shares=[0.5, 0.2, 0.7, 1.0]"], "must rise"),
        (["stage.1.curriculum.presett=seed"], "'preset'"),
        (["stage.0.curriculum.kind=pocl"], "ranks by logits"),
        (["stage.1.curriculum.kind=pocl", "stage.1.warmup=10"], "phase 1: warmup = 10"),
        (["stage.1.dot.delta=0.05"], "dot.task = 'ce'"),
        (["stage.1.dot.task=['kl']"], "leave a loss for distillation"),
        (["stage.1.project.task=['ce']"], "project.task = 'ce'"),
        (["stage.1.project.task=['kl']"], "project.task = ['kl']: leave a loss for distillation"),
        (["stage.1.project.tasks=['kl']"], "'task'"),
        (
            ["stage.1.dot.delta=0.05", "stage.1.project.task=['kl']"],
            "dot beside project: each",
        ),
        (["stage.1.watch.evry=3"], "'every'"),
        (["stage.1.end.by=plato"], "stage.1.end.by = 'plato'"),
        (["log.trackers=['wandbb']"], "'wandb'"),
        (["train.clip_by=groups"], "train.clip_by = 'groups'"),
    ],
)
def test_teaching_is_checked_when_loaded(
    settings: list[str], words: str, error_of: Callable[..., str]
) -> None:
    assert words in error_of(*settings)


@pytest.mark.parametrize("key", ["dot", "project"])
def test_two_sides_do_not_go_through_a_curriculum(curriculum: Callable[..., Any], key: str) -> None:
    with pytest.raises(RecipeError, match=f"{key} beside curriculum: a phase may drop"):
        curriculum(f"stage.1.{key}.task=['ce']")


def test_projection_arrives_in_the_plan(recipe_file: Path) -> None:
    loss = "stage.1.losses=[{name='kl'}, {name='ce'}]"
    recipe = load_recipe(recipe_file, (loss, "stage.1.project.task=['ce']"))
    align, distill = build_run(recipe, tell=lambda text: None).stages
    assert align.rule == SumSettings()
    assert distill.rule == ProjectSettings(task=("ce",))


def test_momenta_of_dot_stay_below_one(changed: Callable[..., dict[str, Any]]) -> None:
    raw = changed("stage.1.dot.delta=0.3")
    raw["stage"][1]["losses"].append({"name": "ce"})
    with pytest.raises(RecipeError, match=r"delta = 0\.3: .* momentum is 0\.9"):
        check_recipe(raw, source="")


def test_a_curriculum_and_an_early_end_arrive_in_the_plan(recipe_file: Path) -> None:
    settings = ("stage.1.tokens=320", "stage.1.curriculum.pool=160", "stage.1.end.by=plateau")
    plan = build_run(load_recipe(recipe_file, settings), tell=lambda text: None)
    phases = plan.stages[1:]
    assert [phase.name for phase in phases] == [f"distill.{n}" for n in (1, 2, 3, 4)]
    assert len({id(phase.pool) for phase in phases}) == 1
    assert len(phases[0].pool.places) == 10
    assert [phase.end.by for phase in phases] == ["plateau"] * 4
    assert len({phase.seed for phase in phases}) == 4


def test_only_the_first_phase_fits_anything(recipe_file: Path) -> None:
    settings = ("stage.1.tokens=320", "stage.1.curriculum.pool=160", "stage.1.balance=64")
    phases = build_run(load_recipe(recipe_file, settings), tell=lambda text: None).stages[1:]
    assert [phase.starts.balance for phase in phases] == [64, 0, 0, 0]


def test_settings_that_came_later_do_not_stop_a_resumed_run(recipe_file: Path) -> None:
    plan = build_run(load_recipe(recipe_file), tell=lambda text: None)
    assert "train.clip_by" not in plan.identity
    other = build_run(load_recipe(recipe_file, ["train.clip_by=group"]), tell=lambda text: None)
    assert other.identity["train.clip_by"] == '"group"'


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ["stage.1.kind=pretrain", "stage.1.losses=[{name='ce'}]", "stage.1.teacher=somewhere"],
            "pretrain has no teacher",
        ),
        (
            [
                "teacher=[{model='a'}, {model='b'}]",
                "stage.1.teachers=['a', 'b']",
                "stage.1.losses=[{name='multi_teacher'}]",
                "stage.1.mix=[1.0, 2.0]",
            ],
            "multi_teacher learns the weights",
        ),
        (
            [
                "stage.1.tokens=64k",
                "stage.1.losses=[{name='ctkd'}]",
                "stage.1.curriculum.temperatures=[1, 2, 3, 4]",
            ],
            "no loss of the stage has a temperature",
        ),
        (["teacher.0.dtype=bf16"], "align runs the student on its hidden states in fp32"),
    ],
)
def test_what_would_be_ignored_is_refused(
    settings: list[str], words: str, error_of: Callable[..., str]
) -> None:
    assert words in error_of(*settings)


def test_a_pool_that_is_read_again_and_again_is_told(curriculum: Callable[..., Any]) -> None:
    (warning,) = repeated_pools(curriculum("stage.1.tokens=1M"))
    assert "stage.1.curriculum.pool = 100000" in warning
    assert "10 times the same windows; raise pool to 250000" in warning
    assert list(repeated_pools(curriculum())) == []


def test_rates_and_mixes_of_the_recipe_arrive_in_the_plan(
    recipe_file: Path, teacher_folder: Path
) -> None:
    settings = (
        f"teacher=[{{model='{teacher_folder}'}}, {{model='{teacher_folder}', name='b'}}]",
        f"stage.1.teachers=['{teacher_folder}', 'b']",
        "stage.1.mix=[1.0, 3.0]",
        "stage.1.lr_scale.loss=200.0",
    )
    _, distill = build_run(load_recipe(recipe_file, settings), tell=lambda text: None).stages
    assert distill.lr_scale["loss"] == 200.0
    own = Trained("objective.x", LOSS_GROUP, nn.Parameter(torch.zeros(1)))
    adam = AdamSettings(scales=distill.lr_scale, betas=(0.9, 0.95), weight_decay=0.0)
    rule = distill.rule.start([own], adam)
    set_rate(rule.optimiser, 1e-3)
    assert rule.optimiser.param_groups[0]["lr"] == pytest.approx(0.2)
    assert distill.stage.teacher.weights == (1.0, 3.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["share=0.4", "distance=8"], r"repeats\.distance = 8: must be below the stage's window"),
        (["share=0.4", "kinds=['word']"], "kinds = 'word': did you mean 'words'"),
        (["share=1.5"], "share"),
        (["distance=64"], "repeats.share: missing"),
        (["share=0.4", "length=3"], "repeats.length: unknown key"),
    ],
)
def test_repeats_that_cannot_be(
    error_of: Callable[..., str], settings: list[str], said: str
) -> None:
    assert re.search(said, error_of(*(f"stage.0.repeats.{setting}" for setting in settings)))


def test_repeats_and_a_curriculum_exclude_each_other(curriculum: Callable[..., Any]) -> None:
    with pytest.raises(RecipeError, match="repeats beside curriculum"):
        curriculum("stage.1.repeats.share=0.4", "stage.1.window=512")


def test_repeats_arrive_in_the_plan(recipe_file: Path) -> None:
    settings = ("stage.0.repeats.share=[0.2, 0.6]", "stage.0.repeats.distance=9")
    window = ("stage.0.window=16", "stage.0.batch=1")
    recipe = load_recipe(recipe_file, (*settings, *window))
    assert recipe.stage[0].repeats.settings() == Repeats(share=(0.2, 0.6), distance=(9, 9))
    align, distill = build_run(recipe, tell=lambda text: None).stages
    assert isinstance(align.loader, RepeatLoader)
    assert isinstance(distill.loader, WindowLoader)
    plain = build_run(load_recipe(recipe_file, window), tell=lambda text: None).stages[0].loader
    drawn = [(align.loader.next(1.0), plain.next(1.0)) for _ in range(40)]
    same = sum(torch.equal(ours.tokens_BT, theirs.tokens_BT) for ours, theirs in drawn)
    assert 4 < same < 30
