"""Stages that read examples: apart from each other, and by their answers alone."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.data.example_batches import ExampleLoader
from asnn_goose.data.examples import Example
from asnn_goose.trace import Batch
from asnn_goose.train.stages import Distill, Sft
from asnn_goose.train.validation import Validation


def alone(one: Example) -> Batch:
    return ExampleLoader([one], window=len(one) - 1, batch=1, seed=0, padding=0).next()


def test_examples_in_one_row_learn_as_if_each_were_alone(
    answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    stage = stage_of(Sft, "ce", "kl")
    several = answers.examples()[:4]
    row = ExampleLoader(several, window=40, batch=1, seed=0, padding=0).next()
    assert row.documents_BT.unique().tolist() == [0, 1, 2, 3, 4]
    together = stage(row)
    counts = [int(one.answer_N.sum()) for one in several]
    for name in ("ce", "kl"):
        each = [stage(alone(one))[name].item() * n for one, n in zip(several, counts, strict=True)]
        assert together[name].item() == pytest.approx(sum(each) / sum(counts), rel=1e-5)


def test_without_a_reset_one_example_would_read_another(
    answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    row = ExampleLoader(answers.examples()[:4], window=40, batch=1, seed=0, padding=0).next()
    stages = [stage_of(kind, "ce") for kind in (Sft, Distill)]
    apart, leaking = (stage(row)["ce"].item() for stage in stages)
    assert abs(apart - leaking) > 1e-4


def test_prompts_count_in_no_loss_and_are_read(
    models: Any, answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    student, _ = models
    stage = stage_of(Sft, "ce")
    one = answers.example(5, 3, seed=1)
    batch = alone(one)
    logits_TV = student.trace(batch.tokens_BT, frozenset({"vocab"})).vocab(slice(None))
    answer_T = torch.from_numpy(one.ids_N[5:])
    expected = torch.nn.functional.cross_entropy(logits_TV[4:], answer_T)
    torch.testing.assert_close(stage(batch)["ce"], expected)
    other = replace_token(one, 0)
    assert stage(alone(other))["ce"].item() != pytest.approx(expected.item(), abs=1e-6)


def replace_token(one: Example, place: int) -> Example:
    ids_N = one.ids_N.copy()
    ids_N[place] = ids_N[place] % 90 + 1
    return Example(ids_N=ids_N, answer_N=one.answer_N, place=one.place)


def test_held_out_examples_are_measured_by_their_answers(
    tiny: ModuleType, answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    stage = stage_of(Sft, "ce")
    loader = ExampleLoader(answers.examples(), **answers.LOADER)
    accelerator = tiny.plan(noise=False).accelerator
    found = Validation(loader=loader, batches=2).measure(stage, accelerator)
    sums = [(stage(b)["ce"].item(), int(b.mask_BT.sum())) for b in (loader.next(), loader.next())]
    mean = sum(ce * n for ce, n in sums) / sum(n for _, n in sums)
    assert found == {"ce": pytest.approx(mean, rel=1e-5)}
