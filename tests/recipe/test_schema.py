from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asnn_goose.recipe import RecipeError, load_recipe
from asnn_goose.recipe.counts import read_count
from asnn_goose.recipe.identity import flat
from asnn_goose.recipe.load import check_recipe, override

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
RECIPE_FILES = sorted(p for p in RECIPES.rglob("*.toml") if p.parent.name != "ablations")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("200k", 200_000),
        ("1.5M", 1_500_000),
        ("1_000", 1000),
        ("2 k", 2000),
        ("3B", 3 * 10**9),
        ("7", 7),
        (7, 7),
        (2e5, 200_000),
        (2.5, None),
        ("1.0005k", None),
        ("-5", None),
        ("12 apples", None),
        ("", None),
        ("k", None),
    ],
)
def test_counts(text: object, value: int | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="whole number"):
            read_count(text)
    else:
        assert read_count(text) == value


@given(st.integers(1, 10**9))
def test_every_count_can_be_written_in_thousands(number: int) -> None:
    assert read_count(f"{number}k") == number * 1000


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["stage.0.tokenz=5"], ["stage.0.tokenz: unknown key", "'tokens'"]),
        (["sead=5"], ["sead: unknown key", "'seed'"]),
        (["train.precison=bf16"], ["train.precison", "'precision'"]),
        (["student.gatee=none"], ["student.gatee", "'gate'"]),
        (["student.gate=nun"], ["student", "gate = 'nun'", "one_plus"]),
        (["student.variant=radlad"], ["student.variant = 'radlad'", "'radlads'"]),
        (["stage.1.lr_scale.vectr=2"], ["stage.1.lr_scale.vectr", "'vector'"]),
        (["stage.0.kind=aline"], ["stage.0.kind = 'aline'", "'align'"]),
        (["stage.0.schedule=cosin"], ["stage.0.schedule = 'cosin'", "'cosine'"]),
        (["stage.1.losses.0.name=kll"], ["stage.1.losses.0.name = 'kll'", "'kl'"]),
        (["stage.1.losses.0.temprature=2"], ["loss 'kl'", "'temprature'", "'temperature'"]),
        (["stage.1.losses.0.wait=2"], ["loss 'kl'", "'wait'", "'weight'"]),
        (["stage.1.losses.0.temperature=-1"], ["stage.1.losses.0", "temperature = -1"]),
        (["stage.1.losses.0.temperature=hot"], ["stage.1.losses.0", "loss 'kl'"]),
        (["stage.0.tokens=12 apples"], ["stage.0.tokens = '12 apples'", "200k"]),
        (["stage.0.tokens=0"], ["stage.0.tokens = 0", "greater than or equal to 1"]),
        (["stage.0.lr=-1"], ["stage.0.lr = -1"]),
        (["stage.0.train=all"], ["stage.0", "align can train mixers"]),
        (["stage.0.losses.0.name=kl"], ["stage.0", "cannot give vocab"]),
        (["stage.1.warmup=63"], ["stage.1", "warmup = 63", "63 steps"]),
        (["stage.1.schedule=constant", "stage.1.floor=0.1"], ["floor = 0.1", "constant"]),
        (["data.train=['sotuu']"], ["data.train.0 = 'sotuu'", "'sotu'"]),
        (["train.keep=1"], ["train.keep = 1", "2"]),
        (["eval.tokens=0"], ["eval.tokens = 0"]),
        (["stage.0.tokens=true"], ["stage.0", "tokens = true: must be a number"]),
        (["train.threads=true"], ["train", "threads = true"]),
        (["stage.1.lr=inf"], ["stage.1", "lr = inf: must be a finite number"]),
        (["stage.1.lr_scale.vector=inf"], ["stage.1.lr_scale", "vector = inf"]),
        (["data.weights=[inf]"], ["data", "weights = inf"]),
        (["stage.1.losses.0.weight=inf"], ["stage.1.losses.0", "weight = inf"]),
        (["stage.1.losses.0.temperature=true"], ["stage.1.losses.0", "temperature = true"]),
        (["stage.1.losses.0.temperature=inf"], ["stage.1.losses.0", "temperature = inf"]),
        (["stage.1.losses.0.temperature=1e-40"], ["stage.1.losses.0", "temperature = 1e-40"]),
        (["teacher.0.cache.temperatures=[1e-40]"], ["teacher.0.cache", "1e-40: must be above 0"]),
        (["student.norm_eps=inf"], ["student", "norm_eps = inf"]),
        (
            ["stage.1.losses=[{name='dual_head',top_k=1.5}, {name='ce'}]"],
            ["stage.1.losses.0", "top_k = 1.5: must be a whole number"],
        ),
        (["student.hidden_size=-4"], ["student", "hidden_size = -4: must be a whole number"]),
        (["name='..'"], ["name = '..'"]),
        (["stage.0.losses=[]"], ["stage.0.losses = []: give 1 or more"]),
        (["stage.0.name=a", "stage.1.name=a"], ["a, a"]),
        (["name=../x"], ["name = '../x'"]),
    ],
)
def test_errors_name_place_value_and_what_is_right(
    settings: list[str], parts: list[str], error_of: Callable[..., str]
) -> None:
    message = error_of(*settings)
    assert message.startswith("a.toml:")
    for part in parts:
        assert part in message


def test_only_clip_may_be_infinite(changed: Callable[..., dict[str, Any]]) -> None:
    assert check_recipe(changed("train.clip=inf"), source="").train.clip == float("inf")


def test_a_wrong_loss_is_one_error(error_of: Callable[..., str]) -> None:
    message = error_of("stage.1.losses.0.temperature=-1")
    assert len(message.splitlines()) == 2
    assert "give 1 or more" not in message


def test_all_errors_come_at_once(error_of: Callable[..., str]) -> None:
    message = error_of("stage.0.tokenz=5", "sead=1")
    assert "tokenz" in message
    assert "sead" in message


def test_missing_keys_are_named(minimal: Callable[[], dict[str, Any]]) -> None:
    raw = minimal()
    del raw["stage"][1]["lr"]
    with pytest.raises(RecipeError, match=r"stage\.1\.lr: missing"):
        check_recipe(raw, source="a.toml")


def test_two_teachers_are_refused(minimal: Callable[[], dict[str, Any]]) -> None:
    raw = minimal()
    raw["teacher"] *= 2
    with pytest.raises(RecipeError, match="teacher"):
        check_recipe(raw, source="a.toml")


def test_unreadable_toml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(RecipeError, match=r"bad\.toml"):
        load_recipe(tmp_path / "bad.toml")


def test_overrides_reach_every_depth(changed: Callable[..., dict[str, Any]]) -> None:
    recipe = check_recipe(
        changed(
            "stage.0.tokens=200k",
            "stage.1.losses.0.temperature=2",
            "stage.1.lr_scale.vector=3",
            "train.checkpointing=true",
            'data.train=["sotu"]',
            "student.gate=none",
            "eval.tokens=all",
            "seed=4",
        ),
        source="",
    )
    assert recipe.stage[0].tokens == 200_000
    assert recipe.stage[1].losses[0].term().loss.temperature == 2.0
    assert recipe.stage[1].lr_scale.vector == 3.0
    assert recipe.train.checkpointing is True
    assert recipe.data.train == ("sotu",)
    assert recipe.student.overrides() == {"gate": "none"}
    assert recipe.eval.tokens == -1
    assert recipe.seed == 4


@pytest.mark.parametrize(
    "setting",
    [
        "stage.2.tokens=5",
        "stage.first.tokens=5",
        "stage.0.losses.1=5",
        "seed",
        "=5",
        "name.x=5",
        "stage..x=1",
        f"seed={'9' * 5000}",
        f"seed={'[' * 5000}",
    ],
)
def test_overrides_that_cannot_be_placed(
    setting: str, minimal: Callable[[], dict[str, Any]]
) -> None:
    with pytest.raises(RecipeError, match="override"):
        override(minimal(), setting)


def test_resolved_recipe_loads_to_the_same(
    tmp_path: Path, changed: Callable[..., dict[str, Any]]
) -> None:
    raw = changed("stage.1.losses.0.temperature=2.5", "eval.tokens=all", "student.rope=true")
    recipe = check_recipe(raw, source="")
    (tmp_path / "resolved.toml").write_text(recipe.to_toml())
    again = load_recipe(tmp_path / "resolved.toml")
    assert again == recipe
    assert again.to_toml() == recipe.to_toml()
    written = tomllib.loads(recipe.to_toml())
    assert written["train"]["clip"] == 1.0  # defaults are written out
    assert written["stage"][1]["losses"][0]["temperature"] == 2.5
    assert written["eval"]["tokens"] == "all"


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.name)
def test_recipes_of_the_project_are_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_stages_get_names_and_seeds(
    minimal: Callable[[], dict[str, Any]], changed: Callable[..., dict[str, Any]]
) -> None:
    raw = minimal()
    raw["stage"].append(raw["stage"][1])
    recipe = check_recipe(raw, source="")
    assert [recipe.stage_name(i) for i in range(3)] == ["align", "distill-1", "distill-2"]
    seeds = [recipe.stage_seed(i) for i in range(3)]
    assert len(set(seeds)) == 3
    other = check_recipe({**raw, "seed": 1}, source="")
    assert not set(seeds) & {other.stage_seed(i) for i in range(3)}
    own = check_recipe(changed("stage.0.seed=9"), source="")
    assert own.stage_seed(0) == 9


def test_steps_use_up_the_tokens(changed: Callable[..., dict[str, Any]]) -> None:
    stage = check_recipe(changed("stage.0.tokens=1k", "stage.0.accumulate=3"), source="").stage[0]
    assert stage.tokens_per_step(2) == 8 * 2 * 3 * 2
    assert stage.steps(1) == 21
    assert stage.steps(2) == 11


def test_flat_names_places_as_overrides_do() -> None:
    assert dict(flat({"a": [{"b": 1}, {"b": "x"}], "c": {}})) == {"a.0.b": "1", "a.1.b": '"x"'}
