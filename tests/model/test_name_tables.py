"""Every table of names answers a slip with the nearest name, wherever the name came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from asnn_goose.model import GooseConfig, Teacher, convert
from asnn_goose.model.parts.groups import trainable
from asnn_goose.model.teacher_mixture import TeacherMixture
from asnn_goose.recipe.schema import StudentTable


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"mixer": "rwkv"}, r"mixer = 'rwkv': did you mean 'rwkv7'\?"),
        ({"mixer": "x"}, r"mixer = 'x': choose one of rwkv7"),
        ({"mlp": "gatd"}, r"mlp = 'gatd': did you mean 'gated'\?"),
        ({"gate": "sigmod"}, r"gate = 'sigmod': did you mean 'sigmoid'\?"),
        ({"v_first": "detach"}, r"v_first = 'detach': did you mean 'detached'\?"),
        ({"norm": "layers"}, r"norm = 'layers': did you mean 'layer'\?"),
        ({"hidden_act": "sillu"}, r"hidden_act = 'sillu': did you mean 'silu'\?"),
        ({"precision": {"*": {"code": "radix4"}}}, r"code = 'radix4': did you mean 'radix"),
        (
            {"precision": {"*": {"steps": 1, "neuron": "lift"}}},
            r"neuron = 'lift': did you mean 'lif'",
        ),
    ],
)
def test_a_slip_in_a_student_names_the_nearest(
    setting: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        GooseConfig(**setting)
    with pytest.raises(ValueError, match=words):
        StudentTable(**setting)
    GooseConfig().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | setting))
    with pytest.raises(ValueError, match=words):
        AutoConfig.from_pretrained(tmp_path)


def test_a_slip_elsewhere_does_too(llama: Callable[..., Teacher]) -> None:
    teacher = llama()
    with pytest.raises(ValueError, match=r"variant = 'radlad': did you mean 'radlads'\?"):
        convert(teacher, variant="radlad")
    with pytest.raises(ValueError, match="mixr is no setting of GooseConfig: did you mean 'mixer'"):
        convert(teacher, mixr="rwkv7")
    with pytest.raises(ValueError, match="train = 'mixer': did you mean 'mixers'"):
        trainable(convert(teacher), "mixer")
    with pytest.raises(ValueError, match="weights = 'uniforms': did you mean 'uniform'"):
        TeacherMixture([teacher, teacher], weights="uniforms")
