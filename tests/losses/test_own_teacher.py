"""A student whose mixers make the teacher's q, k and v pays nothing for its relations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from asnn_goose.losses.minilm import MiniLM
from asnn_goose.losses.tinybert import TinyBERTAttention
from asnn_goose.model import Teacher, convert
from asnn_goose.trace import Batch

SIZES = {"vocab_size": 31, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 16}
NEEDS = frozenset({"mixer_in", "queries", "keys", "values"})
SCALED: list[dict[str, Any]] = [
    {},
    {"scale_attn_weights": False},
    {"scale_attn_by_inverse_layer_idx": True},
]


@pytest.mark.parametrize("scaled", SCALED)
@pytest.mark.parametrize(
    "loss", [MiniLM(version=1), MiniLM(version=2), TinyBERTAttention()], ids=["v1", "v2", "scores"]
)
def test_inherited_relations_cost_nothing(
    loss: MiniLM | TinyBERTAttention, scaled: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**SIZES, bos_token_id=0, eos_token_id=0, **scaled))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    teacher = Teacher(model, None, name="tiny")
    tokens_BT = torch.randint(0, 31, (2, 13))
    wanted = teacher.trace(tokens_BT[:, :-1], NEEDS)
    student = convert(teacher, v_first="none")
    found = student.drive(wanted.mixer_in)
    batch = Batch(
        tokens_BT=tokens_BT[:, :-1],
        labels_BT=tokens_BT[:, 1:],
        documents_BT=torch.zeros_like(tokens_BT[:, 1:]),
    )
    assert abs(loss(found, wanted, batch).item()) < 1e-5
    with torch.no_grad():
        for block in student.blocks:
            block.mixer.key.weight.mul_(1.5)
    assert loss(student.drive(wanted.mixer_in), wanted, batch).item() > 1e-3


def test_scores_of_a_teacher_are_those_of_its_attention() -> None:
    torch.manual_seed(0)
    settings = {"scale_attn_by_inverse_layer_idx": True, "attn_implementation": "eager"}
    config = GPT2Config(**SIZES, bos_token_id=0, eos_token_id=0, **settings)
    teacher = Teacher(GPT2LMHeadModel(config), None, name="tiny")
    tokens_BT = torch.randint(0, 31, (1, 7))
    trace = teacher.trace(tokens_BT, NEEDS)
    wanted = teacher.model(tokens_BT, output_attentions=True).attentions[1]
    q, k = (x.transpose(1, 2) for x in (trace.signals["queries"][1], trace.signals["keys"][1]))
    scores = (q @ k.transpose(-1, -2) / 16**0.5).masked_fill(
        torch.ones(7, 7, dtype=torch.bool).triu(1), -torch.inf
    )
    torch.testing.assert_close(scores.softmax(-1), wanted, rtol=1e-4, atol=1e-5)
