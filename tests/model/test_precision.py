from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseConfig, GooseForCausalLM, Teacher, student_config
from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.recipe.schema import StudentTable

TABLE: dict[str, dict[str, Any]] = {
    "*": {"planes": 1, "steps": 1},
    "down": {"steps": 4, "threshold": 4.0},
    "2.*": {"planes": 2},
    "2.down": {"group": 64, "rotate": True},
    "12.key": {"code": "rate", "steps": 8},
}


def test_the_most_specific_wins_field_by_field() -> None:
    assert PrecisionTable(TABLE).of("up", layer=0) == Precision(planes=1, steps=1)
    assert PrecisionTable(TABLE).of("down", layer=0) == Precision(planes=1, steps=4, threshold=4.0)
    assert PrecisionTable(TABLE).of("up", layer=2) == Precision(planes=2, steps=1)
    assert PrecisionTable(TABLE).of("down", layer=2) == Precision(
        planes=2, steps=4, threshold=4.0, group=64, rotate=True
    )
    assert PrecisionTable(TABLE).of("key", layer=12).code == "rate"
    assert PrecisionTable(TABLE).of("key", layer=1).code == "radix3"


def test_the_head_stands_apart() -> None:
    assert PrecisionTable(TABLE).of("head").plain
    assert PrecisionTable({"head": {"planes": 2}}).of("head").planes == 2


def test_nothing_said_is_plain() -> None:
    for table in (None, {}):
        assert PrecisionTable(table).of("down", layer=3).plain


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"donw": {"planes": 1}}, r"precision.donw: no such matrix; did you mean 'down'"),
        ({"sideways": {}}, r'choose one of receptance, .*A layer goes in front.*"12.down"'),
        ({"12": {"down": {"planes": 1}}}, r"precision.12: no such matrix.*in quotes"),
        ({"x.down": {}}, r"precision.x.down: 'x' must be the number of a layer"),
        ({"01.down": {}}, r"'01' must be the number of a layer"),
        ({"-1.down": {}}, r"'-1' must be the number of a layer"),
        ({"3.head": {}}, r"precision.3.head: no such matrix"),
        ({"down": {"plane": 1}}, r"precision.down.plane: no such setting; did you mean 'planes'"),
        ({"down": 2}, r"precision.down = 2: must be a table of planes"),
        ([1], r"must be a table of matrix names"),
        ({"down": {"planes": 3}}, r"precision of down: planes = 3: must be 0, 1 or 2"),
        ({"down": {"planes": True}}, r"precision.down.planes = True: must be a whole number"),
        ({"down": {"planes": 1.0}}, r"precision.down.planes = 1.0: must be a whole number"),
        ({"down": {"rotate": 1}}, r"precision.down.rotate = 1: must be true or false"),
        ({"down": {"threshold": "high"}}, r"precision.down.threshold = 'high': must be a number"),
        ({"down": {"threshold": 0}}, r"threshold = 0: must be above 0"),
        ({"down": {"threshold": float("inf")}}, r"threshold = inf: must be above 0"),
        ({"down": {"group": 96}}, r"group = 96: must be 0 or a multiple of 64"),
        ({"down": {"code": "morse"}}, r"code = 'morse': choose one of rate, radix2, radix3"),
        ({"down": {"steps": 5}}, r"steps = 5: must be 0 to 4 for code 'radix3'"),
        ({"*": {"steps": 8, "code": "rate"}, "5.up": {"code": "radix2"}}, r"5.up: steps = 8"),
        ({"down": {"steps": -1}}, r"steps = -1"),
        ({"head": {"planes": 2}}, r"precision.head: .*set theirs at export"),
        ({"head": {"rotate": True}}, r"precision.head"),
    ],
)
def test_wrong_tables_are_explained(table: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GooseConfig(precision=table)


def test_what_only_fits_together_is_accepted() -> None:
    config = GooseConfig(precision={"down": {"steps": 8}, "*": {"code": "rate"}})
    assert PrecisionTable(config.precision).of("down", layer=0).steps == 8


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"mlp_key": {"planes": 1}}, r"precision.mlp_key: this model's blocks have receptance, "),
        ({"3.down": {"planes": 1}}, r"precision.3.down: the last of 3 layers is 2"),
        ({"*": {"rotate": True}}, r"0.down: rotate = true: .*multiple of 64 columns.*96"),
        ({"1.down": {"planes": 1, "group": 64}}, r"1.down: group = 64: must divide the 96"),
    ],
)
def test_what_does_not_fit_the_shape_is_explained(
    table: dict[str, Any], words: str, fresh: Callable[..., GooseForCausalLM], teacher: Teacher
) -> None:
    with pytest.raises(ValueError, match=words):
        fresh(precision=table, mlp="gated")
    with pytest.raises(ValueError, match=words):
        student_config(teacher, precision=table)


@torch.no_grad()
def test_saving_keeps_it(
    tmp_path: Path, fresh: Callable[..., GooseForCausalLM], tokens_BT: Tensor
) -> None:
    table = {"*": {"planes": 2, "steps": 3, "threshold": 4.0}, "1.key": {"rotate": True}}
    student = fresh(precision=table, mlp="gated")
    student.save_pretrained(tmp_path)
    again: GooseForCausalLM = GooseForCausalLM.from_pretrained(tmp_path)
    assert again.config.precision == table
    assert torch.equal(student(tokens_BT).logits, again(tokens_BT).logits)


def test_a_configuration_without_it_has_an_empty_table(tmp_path: Path) -> None:
    assert GooseConfig().precision == {}
    GooseConfig().save_pretrained(tmp_path)
    assert GooseConfig.from_pretrained(tmp_path).precision == {}


def test_a_recipe_can_set_it() -> None:
    table = {"down": {"planes": 2}, "12.*": {"steps": 3}}
    assert StudentTable(precision=table).overrides() == {"precision": table}
    assert StudentTable().overrides() == {}
    with pytest.raises(ValueError, match="no such matrix; did you mean 'down'"):
        StudentTable(precision={"donw": {}})


def test_a_table_is_a_value() -> None:
    given = {"*": {"planes": 2, "neuron": {"name": "mean"}}, "7.down": {"steps": 1}}
    table, same = PrecisionTable(given), PrecisionTable(json.loads(json.dumps(given)))
    given["*"]["planes"] = 1  # type: ignore[index]
    assert table == same
    assert hash(table) == hash(same)
    assert table.to_json()["*"]["planes"] == 2
    table.to_json()["*"]["planes"] = 0
    assert table.has_planes
    with pytest.raises(TypeError):
        table["*"]["planes"] = 1  # type: ignore[index]
    assert PrecisionTable() == {}
    assert not PrecisionTable({"*": {"steps": 1}}).has_planes


def test_the_particular_wins_over_the_general() -> None:
    every = {"down": 0, "7.*": 1, "7.down": 2}  # from the general to the particular
    for kept in (every, {"down": 0, "7.*": 1}, {"7.*": 1, "7.down": 2}, {"down": 0, "7.down": 2}):
        table = PrecisionTable({"*": {"planes": 0}} | {k: {"planes": v} for k, v in kept.items()})
        assert table.of("down", layer=7).planes == max(kept.values())
