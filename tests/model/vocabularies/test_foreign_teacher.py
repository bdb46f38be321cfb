"""A teacher that reads the student's text with a tokenizer of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from asnn_goose.losses import Objective, Term
from asnn_goose.losses.kl import KL
from asnn_goose.losses.span_likelihood import SpanLikelihood
from asnn_goose.losses.uld import ULD
from asnn_goose.model import Teacher, TeacherError
from asnn_goose.model.vocabularies.foreign_teacher import (
    ForeignTeacher,
    SeparateTeachers,
    same_words,
)
from asnn_goose.trace import IGNORED_LABEL, Batch, Window

VOCAB = frozenset({"vocab"})
TEXT = "A goose flew north, and naïve it was. 日本\n"


def teacher_of(tokenizer: PreTrainedTokenizerFast, *, name: str = "own", seed: int = 0) -> Teacher:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    return Teacher(model, tokenizer, name=name)


def permuted(teacher: Teacher) -> Teacher:
    """The same model and tokenizer with every token under another number."""
    tokenizer = teacher.tokenizer
    assert tokenizer is not None
    count = len(tokenizer)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(3)).tolist()
    core = tokenizer.backend_tokenizer
    state = json.loads(core.to_str())
    state["model"]["vocab"] = {w: order[n] for w, n in state["model"]["vocab"].items()}
    for entry in state["added_tokens"]:
        entry["id"] = order[entry["id"]]
    state["added_tokens"].sort(key=lambda entry: entry["id"])
    again = PreTrainedTokenizerFast(
        tokenizer_object=type(core).from_str(json.dumps(state)),
        eos_token=tokenizer.eos_token,
    )
    model = LlamaForCausalLM(teacher.model.config)
    model.load_state_dict(teacher.model.state_dict())
    with torch.no_grad():
        for table in (model.model.embed_tokens.weight, model.lm_head.weight):
            table[torch.tensor(order)] = table.clone()
    return Teacher(model, again, name="permuted")


def batch_of(tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Two windows of whole texts; the label after the last token does not count."""
    end = tokenizer.eos_token_id
    rows = [[*tokenizer.encode(TEXT), end, *tokenizer.encode(TEXT)] for _ in range(2)]
    rows[1] = rows[1][5:] + rows[1][:5]
    tokens_BT = torch.tensor(rows)
    labels_BT = tokens_BT.roll(-1, 1)
    labels_BT[:, -1] = IGNORED_LABEL
    return Batch(tokens_BT=tokens_BT, labels_BT=labels_BT, documents_BT=torch.zeros_like(tokens_BT))


def costs(student: Teacher, teacher: object, batch: Batch, name: str) -> Tensor:
    loss = ULD() if name == "uld" else SpanLikelihood(chunk=7)
    objective = Objective([Term(name, 1.0, loss)], chunk=5)
    ours = student.trace(batch.tokens_BT, VOCAB)
    theirs = teacher.trace(batch.tokens_BT, VOCAB)  # type: ignore[attr-defined]
    return objective(ours, theirs, batch)[name]


@pytest.mark.parametrize("name", ["uld", "span_likelihood"])
def test_one_tokenizer_is_the_ordinary_case(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    student, teacher = teacher_of(tokenizer), teacher_of(tokenizer, seed=1)
    batch = batch_of(tokenizer)
    batch = replace(batch, tokens_BT=batch.tokens_BT[:1], labels_BT=batch.labels_BT[:1])
    across = ForeignTeacher(teacher, tokenizer)
    found = costs(student, across, batch, name)
    assert found > 1e-2
    assert torch.allclose(found, costs(student, teacher, batch, name), rtol=1e-5)


@pytest.mark.parametrize("name", ["uld", "span_likelihood"])
def test_a_permuted_vocabulary_costs_nothing(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    student = teacher_of(tokenizer)
    other = permuted(student)
    assert not same_words(other.tokenizer, tokenizer)
    across, batch = ForeignTeacher(other, tokenizer), batch_of(tokenizer)
    assert costs(student, across, batch, name).abs() < 1e-5
    wrong = ForeignTeacher(permuted(teacher_of(tokenizer, seed=1)), tokenizer)
    assert costs(student, wrong, batch, name) > 1e-2


def test_places_and_spans_are_those_of_the_text(
    tokenizer: PreTrainedTokenizerFast, of_kind: Callable[..., PreTrainedTokenizerFast]
) -> None:
    other = teacher_of(of_kind("byte_fallback", bos=False), name="other")
    batch = batch_of(tokenizer)
    trace = ForeignTeacher(other, tokenizer).trace(batch.tokens_BT, VOCAB)
    reading = trace.reading
    assert reading is not None
    assert trace.final_BTD is not None
    assert len(reading.places_n) == batch.tokens_BT.numel()
    assert len(reading.spans_m) == trace.final_BTD.shape[:2].numel()
    assert set(reading.spans_n.tolist()) == set(reading.spans_m.tolist())
    assert reading.spans == int(reading.spans_n.max()) + 1
    own = trace.own_vocab(slice(None))
    places_n = reading.places_n
    where = int((places_n >= 0).nonzero()[-1])
    assert torch.allclose(trace.vocab(slice(where, where + 1))[0], own[places_n[where]], atol=1e-5)
    assert places_n[where] > trace.final_BTD.shape[1]  # of the second window


def test_documents_are_apart_in_both(tokenizer: PreTrainedTokenizerFast) -> None:
    across = ForeignTeacher(permuted(teacher_of(tokenizer)), tokenizer)
    ids = tokenizer.encode(TEXT)
    tokens_BT = torch.tensor([ids + ids])
    documents_BT = torch.tensor([[4] * len(ids) + [5] * len(ids)])
    apart = across.trace(tokens_BT, VOCAB, window=Window(documents_BT=documents_BT))
    alone = across.trace(tokens_BT[:, : len(ids)], VOCAB)
    found = apart.vocab(slice(len(ids), 2 * len(ids)))
    assert torch.allclose(found, alone.vocab(slice(None)), atol=1e-4)


def test_several_teachers_are_weighed(tokenizer: PreTrainedTokenizerFast) -> None:
    student, batch = teacher_of(tokenizer), batch_of(tokenizer)
    one, two = permuted(teacher_of(tokenizer, seed=1)), teacher_of(tokenizer, seed=2)
    both = SeparateTeachers([one, two], tokenizer, weights=(1.0, 3.0))
    for name in ("uld", "span_likelihood"):
        first = costs(student, ForeignTeacher(one, tokenizer), batch, name)
        second = costs(student, two, batch, name)
        found = costs(student, both, batch, name)
        assert torch.allclose(found, 0.25 * first + 0.75 * second, rtol=1e-5)
    with pytest.raises(ValueError, match=r"mix = 'selected': .*take uniform"):
        SeparateTeachers([one, two], tokenizer, weights="selected")


def test_gradients_reach_the_student(tokenizer: PreTrainedTokenizerFast) -> None:
    student, batch = teacher_of(tokenizer), batch_of(tokenizer)
    across = ForeignTeacher(permuted(teacher_of(tokenizer, seed=1)), tokenizer)
    theirs = across.trace(batch.tokens_BT, VOCAB)
    for loss in (ULD(), SpanLikelihood()):
        ours = student.trace(batch.tokens_BT, VOCAB)
        assert ours.final_BTD is not None
        leaf = ours.final_BTD.clone().requires_grad_()
        objective = Objective([Term("x", 1.0, loss)], chunk=5)
        objective(replace(ours, final_BTD=leaf), theirs, batch)["x"].backward()
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0


def test_only_logits_are_given(tokenizer: PreTrainedTokenizerFast) -> None:
    across = ForeignTeacher(permuted(teacher_of(tokenizer)), tokenizer)
    with pytest.raises(ValueError, match=r"needs hidden: teacher 'permuted' has another tokenizer"):
        across.trace(torch.zeros(1, 4, dtype=torch.int64), frozenset({"hidden"}))
    with pytest.raises(TeacherError, match="without a tokenizer"):
        ForeignTeacher(Teacher(teacher_of(tokenizer).model, None, name="bare"), tokenizer)


def test_losses_that_compare_words_are_known() -> None:
    objective = Objective([Term("kl", 1.0, KL()), Term("uld", 1.0, ULD())])
    assert objective.words_compared == ("kl",)
