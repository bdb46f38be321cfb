"""Settings that fit each other: teachers by name, starts and their weights, texts of a mixture."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from asnn_goose.data.corpora import mixture
from asnn_goose.recipe import RecipeError
from asnn_goose.recipe.load import check_recipe


def test_teachers_have_names(minimal: Callable[[], dict[str, Any]]) -> None:
    raw = minimal()
    raw["teacher"] = [{"model": "a"}, {"model": "b", "name": "bee"}]
    raw["stage"][1]["teacher"] = "bee"
    recipe = check_recipe(raw, source="")
    assert [recipe.teacher_numbers(i) for i in range(2)] == [(0,), (1,)]
    raw["stage"][1]["teacher"] = "bea"
    with pytest.raises(RecipeError, match=r"stage.1.teacher = 'bea': .*'bee'"):
        check_recipe(raw, source="")
    raw["teacher"][0]["name"] = "bee"
    with pytest.raises(RecipeError, match="give each a name of its own"):
        check_recipe(raw, source="")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stage.1.mix=selected"], "mix = 'selected': name the stage's teachers"),
        (["stage.1.losses.0.name=multi_teacher"], "multi_teacher weighs several teachers"),
        (["stage.1.teachers=['somewhere']"], "name two different ones or more"),
        (["stage.1.teachers=['somewhere', 'b']", "stage.1.mix=[1]"], "one weight to each teacher"),
        (["stage.0.teachers=['somewhere', 'b']"], "several give logits only, no mixer_out"),
        (["stage.1.teachers=['somewhere', 'b']"], "stage.1.teacher = 'b'"),
        (["student.start=x", "student.variant=arwkv"], "variant = 'arwkv': a student to go on"),
        (["student.embedding=teacher"], "embedding = 'teacher': only where start"),
        (["student.start=scratch", "student.embedding=teacher"], "only where start"),
        (["data.weights=[1, 1, 1]", "stage.1.curriculum.kind=pocl"], "data.weights by text"),
    ],
)
def test_settings_without_effect_are_refused(
    settings: list[str], words: str, error_of: Callable[..., str]
) -> None:
    assert words in error_of(*settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stage.0.calibrate=1k"], r"calibrate = 1000: .* precision has no planes"),
        (
            ["stage.1.calibrate=1k", "stage.1.precision.down.steps=1"],
            r"calibrate = 1000: .* precision has no planes",
        ),
        (
            ["stage.1.least_squares=1k", "stage.1.precision.down.planes=1"],
            r"least_squares = 1000: .* take calibrate",
        ),
        (["stage.0.balance_strength=0.7"], r"balance_strength without balance"),
        (["stage.0.balance=1k", "stage.0.balance_strength=1.5"], r"balance_strength"),
    ],
)
def test_starts_fit_their_weights(
    error_of: Callable[..., str], settings: list[str], words: str
) -> None:
    assert re.search(words, error_of(*settings))


def test_broad_is_spelt_out_when_a_recipe_is_read(changed: Callable[..., dict[str, Any]]) -> None:
    recipe = check_recipe(changed("data.train=['broad']"), source="")
    names, weights = mixture(["broad"])
    assert (recipe.data.train, recipe.data.weights) == (names, weights)
    assert check_recipe(tomllib.loads(recipe.to_toml()), source="") == recipe


def test_weights_may_override_those_of_broad(
    changed: Callable[..., dict[str, Any]], error_of: Callable[..., str]
) -> None:
    settings = ("data.train=['broad', 'sotu']", "data.weights=[1, 1]")
    data = check_recipe(changed(*settings), source="").data
    assert dict(zip(data.train, data.weights, strict=True))["sotu"] == pytest.approx(1.06)
    assert "beside 'broad' give one to each" in error_of("data.train=['broad', 'sotu']")
    assert "weights = [1, 1]" in error_of("data.train=['broad']", "data.weights=[1, 1]")


def test_texts_of_evaluation_are_named_like_texts(error_of: Callable[..., str]) -> None:
    assert "did you mean 'austen'" in error_of("data.decontaminate=['austin']")
    assert "is a mixture of corpora" in error_of("data.out_of_domain=['broad']")
