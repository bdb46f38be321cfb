"""Runs begun before a setting existed go on: a new one says what they did without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.recipe.test_every_key import tables_in

from asnn_goose.recipe import build_run, load_recipe
from asnn_goose.recipe.identity import FREE, LATER, flat, setting_at
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.table import Table
from asnn_goose.train.resume import check
from asnn_goose.train.run_errors import CheckpointError

FIRST = Path(__file__).with_name("first_settings.txt")
"""Settings with a default that every run knows that is still resumed, one a line."""


def defaulted(table: type[Table], place: str = "") -> Iterator[str]:
    """Settings that a recipe has whether or not it names them."""
    for name, field in table.model_fields.items():
        inner = list(tables_in(field.annotation))
        if (
            not inner
            and not field.is_required()
            and field.get_default(call_default_factory=True) is not None
        ):
            yield f"{place}{name}"
        for one in inner:
            yield from defaulted(one, f"{place}{name}.")


def test_a_new_setting_says_what_runs_did_before_it() -> None:
    """Add it to LATER with what the code did when it was no setting: then such runs go on."""
    first = set(FIRST.read_text().split())
    assert {s for s in defaulted(Recipe) if not s.startswith(FREE)} - first == set(LATER)
    assert not first & set(LATER)


@pytest.mark.parametrize("setting", sorted(LATER))
def test_what_runs_did_before_it_is_its_default(setting: str) -> None:
    """Else a recipe that never named it would be another today."""
    value = dict(flat({setting: _default(Recipe, setting.split("."))}))[setting]
    assert value == LATER[setting]


def _default(table: type[Table], parts: list[str]) -> object:
    field = table.model_fields[parts[0]]
    if len(parts) == 1:
        return field.get_default(call_default_factory=True)
    found = [t for t in tables_in(field.annotation) if parts[1] in t.model_fields]
    return _default(found[0], parts[1:])


def test_runs_from_before_are_resumed_unless_it_is_used(recipe_file: Path) -> None:
    repeats = "stage.1.repeats={ share = 0.5, distance = 8 }"
    plan = build_run(load_recipe(recipe_file, [repeats]), tell=lambda text: None)
    assert "train.shard" not in plan.identity
    assert "stage.1.repeats.alone" not in plan.identity
    alone = "stage.1.repeats={ share = 0.5, distance = 8, alone = true }"
    used = build_run(load_recipe(recipe_file, [alone]), tell=lambda text: None)
    assert used.identity["stage.1.repeats.alone"] == "true"
    with pytest.raises(CheckpointError, match=r"stage\.1\.repeats\.alone was not set when"):
        check(used, {"identity": dict(plan.identity)}, tell=lambda text: None)


def test_a_setting_is_named_without_its_numbers() -> None:
    assert setting_at("stage.12.losses.0.weight") == "stage.losses.weight"
