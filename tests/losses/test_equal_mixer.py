"""A mixer that equals its teacher's costs nothing, whatever features are compared."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from asnn_goose.losses import LOSSES, Objective, Term
from asnn_goose.model import GooseConfig, GooseForCausalLM, Teacher, convert
from asnn_goose.model.assistant import Assistant
from asnn_goose.trace import PLACES, Batch, Trace, Window

WORDS, LENGTH = 31, 12
TEACHERS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=48)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=2, n_positions=LENGTH,
                   scale_attn_by_inverse_layer_idx=True, bos_token_id=0, eos_token_id=0)
    ),
}  # fmt: skip
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
ATTENTION_ALONE = sorted(name for name, loss in LOSSES.items() if not loss.student_only)


def moved(model: Any) -> Any:
    """With every parameter away from its start, so that each speaks."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module", params=sorted(TEACHERS))
def transformer(request: pytest.FixtureRequest) -> Teacher:
    torch.manual_seed(0)
    return Teacher(moved(TEACHERS[request.param]()), None, name="tiny")


@pytest.fixture(scope="module")
def recurrent() -> Assistant:
    torch.manual_seed(0)
    config = GooseConfig(**SIZES, head_size=16, intermediate_size=48)
    return Assistant(moved(GooseForCausalLM(config)), None, name="tiny")


@pytest.fixture(params=["one text", "documents"])
def batch(request: pytest.FixtureRequest) -> tuple[Batch, Window]:
    tokens_BT = torch.randint(0, WORDS, (2, LENGTH + 1), generator=torch.Generator().manual_seed(2))
    documents_BT = (torch.arange(LENGTH) >= 5).long().expand(2, LENGTH)
    window = Window(documents_BT=documents_BT) if request.param == "documents" else Window()
    return (
        Batch(tokens_BT=tokens_BT[:, :-1], labels_BT=tokens_BT[:, 1:], documents_BT=documents_BT),
        window,
    )


def cost(name: str, student: Trace, teacher: Trace, batch: Batch) -> float:
    objective = Objective([Term(name, 1.0, LOSSES[name]())])
    objective.meet(student, teacher)
    with torch.no_grad():
        return float(objective(student, teacher, batch)[name])


@pytest.mark.parametrize("name", ATTENTION_ALONE)
def test_inherited_features_cost_nothing(
    name: str, transformer: Teacher, batch: tuple[Batch, Window]
) -> None:
    """The student's own signals on the teacher's inputs; its outputs are the teacher's."""
    inputs, window = batch
    wanted = transformer.trace(
        inputs.tokens_BT,
        PLACES | frozenset({"queries", "keys", "values", "head_outputs"}),
        window=window,
    )
    student = convert(transformer, v_first="none")
    with torch.no_grad():
        driven = student.drive(wanted.mixer_in, window=window)
        # What lies behind the scores is the teacher's, as its outputs are.
        behind = {"head_outputs": wanted.signals["head_outputs"]}
        equal = replace(wanted, signals={**driven.signals, **behind}, window=driven.window,
                        rotations=driven.rotations)  # fmt: skip
        assert abs(cost(name, equal, wanted, inputs)) < 1e-5
        for block in student.blocks:
            block.mixer.key.weight.mul_(3)
        wrong: dict[str, Any] = {
            place: tuple(1.5 * x.flip(1) for x in getattr(wanted, place)) for place in FELT
        }
        wrong |= {
            "final_BTD": wanted.final_BTD.flip(1),
            "embedding_VD": wanted.embedding_VD.flip(0),
        }
        spoiled = replace(equal, signals=student.drive(wanted.mixer_in, window=window).signals)
        assert cost(name, replace(spoiled, **wrong), wanted, inputs) > 1e-3


FELT = ("hidden", "mixer_out", "mlp_out")


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_copy_of_a_recurrent_teacher_costs_nothing(
    name: str, recurrent: Assistant, batch: tuple[Batch, Window]
) -> None:
    inputs, window = batch
    loss = LOSSES[name]()
    needs = loss.teacher_needs | (loss.teacher_takes & recurrent.signals)
    wanted = recurrent.trace(inputs.tokens_BT, needs, window=window)
    copy = deepcopy(recurrent.model)
    with torch.no_grad():
        found = copy.trace(inputs.tokens_BT, loss.needs, window=window)
        assert abs(cost(name, found, wanted, inputs)) < 1e-5
        for parameter in copy.parameters():
            parameter.mul_(1.3)
        other = copy.trace(inputs.tokens_BT, loss.needs, window=window)
        assert cost(name, other, wanted, inputs) > 1e-4
