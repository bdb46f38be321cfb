"""On-policy distillation: whose answers a batch holds, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.data.example_batches import ExampleLoader
from asnn_goose.trace import IGNORED_LABEL, Window
from asnn_goose.train.sampling import drawn, padded
from asnn_goose.train.stages import Gkd, Sft


@pytest.fixture
def gkd(stage_of: Callable[..., Any], answers: ModuleType) -> Callable[..., Gkd]:
    def make(**settings: Any) -> Gkd:
        stage: Gkd = stage_of(Gkd, "jsd", samples=replace(answers.SAMPLES, **settings))
        return stage

    return make


def test_own_answers_follow_the_prompts_and_are_the_labels(
    gkd: Callable[..., Gkd], answers: ModuleType
) -> None:
    stage = gkd()
    batch = ExampleLoader(answers.examples(), alone=True, **answers.LOADER).next(0.5)
    own = stage.own(batch)
    assert own.progress == 0.5
    for row in range(2):
        prompt = batch.tokens_BT[row, : int(batch.mask_BT[row].int().argmax()) + 1]
        length = len(prompt)
        assert own.tokens_BT[row, :length].equal(prompt)
        labels_T = own.labels_BT[row]
        assert (labels_T[: length - 1] == IGNORED_LABEL).all()
        answer = labels_T[labels_T != IGNORED_LABEL]
        assert 1 <= len(answer) <= answers.SAMPLES.tokens
        assert own.tokens_BT[row, length : length + len(answer) - 1].equal(answer[:-1])
    assert 0 < stage.readings()["gkd.length"] <= answers.SAMPLES.tokens


def test_a_row_is_no_longer_than_the_window(gkd: Callable[..., Gkd], answers: ModuleType) -> None:
    loader = ExampleLoader(answers.examples(), alone=True, **answers.LOADER)
    assert gkd(window=5).own(loader.next()).tokens_BT.shape[1] <= 5


@pytest.mark.parametrize("share", [0.0, 1.0, 0.5])
def test_the_share_says_how_often_answers_are_its_own(
    gkd: Callable[..., Gkd], share: float, monkeypatch: pytest.MonkeyPatch, answers: ModuleType
) -> None:
    stage, drew = gkd(share=share), list[int]()
    monkeypatch.setattr(stage, "own", lambda batch: drew.append(1) or batch)
    loader = ExampleLoader(answers.examples(), alone=True, **answers.LOADER)
    torch.manual_seed(4)
    for _ in range(8):
        stage(loader.next())
    torch.manual_seed(4)
    assert len(drew) == sum(float(torch.rand(())) < share for _ in range(8))


def test_the_loss_is_the_divergence_on_what_was_drawn(
    gkd: Callable[..., Gkd], answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    stage = gkd()
    batch = ExampleLoader(answers.examples(), alone=True, **answers.LOADER).next()
    torch.manual_seed(3)
    torch.rand(())
    own = stage.own(batch)
    expected = stage_of(Sft, "jsd")(own)["jsd"]
    torch.manual_seed(3)
    found = stage(batch)["jsd"]
    torch.testing.assert_close(found, expected)
    assert found.requires_grad


def test_what_is_drawn_does_not_depend_on_its_neighbours(models: Any, answers: ModuleType) -> None:
    student, _ = models
    student.train()
    prompts = [torch.from_numpy(answers.example(n, 0, seed=n).ids_N) for n in (2, 7, 4)]
    settings = {"tokens": 5, "temperature": 1e-4, "ends": {answers.END}}
    together = drawn(student, prompts, **settings)
    assert student.training
    for prompt, answer in zip(prompts, together, strict=True):
        assert drawn(student, [prompt], **settings)[0].equal(answer)
        whole_T = torch.cat([prompt, answer])[None]
        logits_TV = student.trace(whole_T, frozenset({"vocab"}), window=Window()).vocab(slice(None))
        assert logits_TV.argmax(-1)[len(prompt) - 1 : -1].equal(answer)


def test_nothing_follows_an_end(models: Any, answers: ModuleType) -> None:
    student, _ = models
    prompt = torch.from_numpy(answers.example(4, 0, seed=2).ids_N)
    settings = {"tokens": 6, "temperature": 1e-4}
    (whole,) = drawn(student, [prompt], **settings, ends={answers.END})
    end = int(whole[2])
    first = whole.tolist().index(end)
    others = [torch.from_numpy(answers.example(3, 0, seed=seed).ids_N) for seed in range(20)]
    whole_of = [drawn(student, [other], **settings, ends={answers.END})[0] for other in others]
    longer = next(o for o, w in zip(others, whole_of, strict=True) if end not in w)
    short, long = drawn(student, [prompt, longer], **settings, ends={end})
    assert short.tolist() == whole.tolist()[: first + 1]
    assert len(long) == 6


def test_gkd_without_a_teacher_is_refused(
    answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="ce looks at no teacher: use a loss such as jsd"):
        stage_of(Gkd, "ce", samples=answers.SAMPLES)


def test_prompts_are_padded_on_the_left_and_the_mask_says_so() -> None:
    ids_BP, mask_BP = padded([torch.tensor([5, 6, 7]), torch.tensor([8])])
    assert ids_BP.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask_BP.tolist() == [[1, 1, 1], [0, 0, 1]]
