from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.trace import Batch
from asnn_goose.train.stages.pretrain import Pretrain

VOCABULARY = 32


class Unasked:
    """A teacher that must not be run."""

    def trace(self, tokens_BT: Tensor, needs: frozenset[str]) -> Any:
        raise AssertionError("pretraining asked the teacher")


def objective(*names: str) -> Objective:
    losses: dict[str, Any] = {**LOSSES, **VOCAB_LOSSES}
    return Objective([Term(name, 1.0, losses[name]()) for name in names], chunk=16)


def student() -> GooseForCausalLM:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_size": 16,
    }
    return GooseForCausalLM(GooseConfig(vocab_size=VOCABULARY, intermediate_size=64, **shape))


def batch() -> Batch:
    """Two windows of a text that repeats itself every eight tokens."""
    ids_BT = (torch.arange(34).view(2, 17) * 5 % 8).long()
    return Batch(
        tokens_BT=ids_BT[:, :-1], labels_BT=ids_BT[:, 1:], documents_BT=torch.zeros(2, 16).long()
    )


def test_a_new_student_knows_nothing_and_learns() -> None:
    stage = Pretrain(student=student(), teacher=Unasked(), objective=objective("ce"))
    optimiser = torch.optim.AdamW(stage.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = stage(batch())["ce"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(VOCABULARY), abs=0.5)
    assert losses[-1] < losses[0] / 2


def test_the_term_is_the_cross_entropy_of_the_next_token() -> None:
    model, given = student(), batch()
    terms = Pretrain(student=model, teacher=Unasked(), objective=objective("ce"))(given)
    logits = model(given.tokens_BT).logits.flatten(0, 1)
    wanted = torch.nn.functional.cross_entropy(logits, given.labels_BT.flatten())
    assert set(terms) == {"ce"}
    torch.testing.assert_close(terms["ce"], wanted)


def test_losses_that_look_at_a_teacher_are_refused() -> None:
    with pytest.raises(ValueError, match="pretrain has no teacher, and kl, ce needs one"):
        Pretrain.check(objective("kl", "ce"))
    with pytest.raises(ValueError, match="pretrain cannot give mixer_out"):
        Pretrain.check(objective("attention_output"))
