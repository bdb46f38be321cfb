"""A recipe whose second teacher has another tokenizer than the student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from asnn_goose.model import Teacher
from asnn_goose.model.teacher_mixture import TeacherMixture
from asnn_goose.model.vocabularies.foreign_teacher import ForeignTeacher, SeparateTeachers
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.teachers import stage_teacher


def recipe(**stage: Any) -> Recipe:
    found = {
        "kind": "distill",
        "train": "all",
        "tokens": 4096,
        "window": 64,
        "batch": 4,
        "lr": 1e-3,
    }
    return Recipe.model_validate(
        {
            "name": "across",
            "teacher": [{"model": "a"}, {"model": "b"}, {"model": "c"}],
            "stage": [found | {"warmup": 0} | stage],
        }
    )


@pytest.fixture
def teachers(
    tokenizer: PreTrainedTokenizerFast, of_kind: Callable[..., PreTrainedTokenizerFast]
) -> dict[int, Teacher]:
    def make(words: PreTrainedTokenizerFast, name: str) -> Teacher:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
        return Teacher(LlamaForCausalLM(config), words, name=name)

    other = of_kind("byte_fallback", bos=False)
    return {0: make(tokenizer, "a"), 1: make(other, "b"), 2: make(tokenizer, "c")}


ULD = {"losses": [{"name": "uld"}, {"name": "ce"}]}


def test_the_tokenizer_decides_how_a_teacher_is_heard(teachers: dict[int, Teacher]) -> None:
    for stage, kind in (
        (ULD, Teacher),
        (ULD | {"teacher": "b"}, ForeignTeacher),
        (ULD | {"teachers": ["a", "b"]}, SeparateTeachers),
        ({"losses": [{"name": "kl"}], "teachers": ["a", "c"]}, TeacherMixture),
    ):
        assert type(stage_teacher(recipe(**stage), 0, teachers)) is kind
    mixed = stage_teacher(recipe(**ULD, teachers=["a", "b"], mix=[1.0, 3.0]), 0, teachers)
    assert isinstance(mixed, SeparateTeachers)
    assert mixed.weights == [0.25, 0.75]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"losses": [{"name": "kl"}, {"name": "uld"}]}, r"stage.0.losses: teacher 'b'.*; kl comp"),
        ({"losses": [{"name": "hidden"}, {"name": "uld"}]}, r"; hidden compares its words"),
        (
            {"kind": "align", "train": "mixers", "losses": [{"name": "attention_output"}]},
            r"attention_output compares its words, or its inside",
        ),
    ],
)
def test_what_another_tokenizer_rules_out_is_named(
    stage: dict[str, Any], message: str, teachers: dict[int, Teacher]
) -> None:
    with pytest.raises(RecipeError, match=message):
        stage_teacher(recipe(**stage, teacher="b"), 0, teachers)
