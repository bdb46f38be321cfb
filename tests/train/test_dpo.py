"""Stages that compare pairs: their reference, found once and kept, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asnn_goose.data.pair_batches import PairLoader
from asnn_goose.losses import PAIR_LOSSES
from asnn_goose.sources import cache_dir
from asnn_goose.trace import IGNORED_LABEL, Batch
from asnn_goose.train.reference import Reference
from asnn_goose.train.run_errors import CheckpointError
from asnn_goose.train.stages import Dpo, Sft
from asnn_goose.train.validation import Validation, held_out

pytestmark = pytest.mark.usefixtures("own_cache")


def scored(stage: Dpo, *loaders: PairLoader) -> list[str]:
    """Give loaders their reference; what was said of it."""
    told: list[str] = []
    accelerator: Any = Always()
    Reference(loaders, batch=2, precision="fp32").find(
        stage, accelerator=accelerator, tell=told.append
    )
    return told


class Always:
    """Of an accelerator, what scoring needs."""

    device = torch.device("cpu")

    def main_process_first(self) -> Any:
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...


def test_a_stage_begins_at_its_reference(answers: ModuleType, stage_of: Callable[..., Any]) -> None:
    stage = stage_of(Dpo, "dpo")
    loader = PairLoader(answers.pairs(), **answers.LOADER)
    scored(stage, loader)
    term = stage(loader.next())["dpo"]
    assert term.item() == pytest.approx(np.log(2), abs=1e-5)
    readings = stage.readings()
    assert readings["pairs.margin"] == pytest.approx(0, abs=1e-4)
    assert stage.readings() == {}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("name", sorted(PAIR_LOSSES))
def test_a_loss_on_pairs_is_that_of_four_sums(
    models: Any, name: str, normalised: bool, answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    student, _ = models
    own = {name: {"beta": 0.4, "length_normalised": normalised}}
    stage = stage_of(Dpo, name, settings=own)
    loader = PairLoader(answers.pairs(), **answers.LOADER)
    loader.reference_N2 = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    batch = loader.next()
    found = stage(batch)[name]
    gains = []
    for side, reference_B in zip((batch.chosen, batch.rejected), batch.reference_B2.T, strict=True):
        gain_B = sums(student, side) - reference_B
        gains.append(gain_B / side.mask_BT.sum(1) if normalised else gain_B)
    loss = PAIR_LOSSES[name](**own[name])
    torch.testing.assert_close(found, loss(gains[0] - gains[1]).mean())
    margin_B = 0.4 * (gains[0] - gains[1])
    readings = stage.readings()
    assert readings["pairs.margin"] == pytest.approx(margin_B.mean().item(), rel=1e-4)
    assert readings["pairs.accuracy"] == pytest.approx(float((margin_B > 0).float().mean()))
    assert readings["pairs.chosen"] == pytest.approx(0.4 * gains[0].mean().item(), rel=1e-4)


def sums(student: Any, side: Batch) -> Tensor:
    """log p of each row's labels (B,), row by row and from whole logits."""
    found = []
    for tokens_T, labels_T in zip(side.tokens_BT, side.labels_BT, strict=True):
        kept = int((labels_T != IGNORED_LABEL).nonzero().max()) + 1
        row = student.trace(tokens_T[None, :kept], frozenset({"vocab"})).vocab(slice(None))
        log_p = torch.log_softmax(row, -1).gather(1, labels_T[:kept, None].clamp_min(0))[:, 0]
        found.append((log_p * (labels_T[:kept] != IGNORED_LABEL)).sum())
    return torch.stack(found)


def test_a_step_moves_the_chosen_answer_up_and_the_rejected_down(
    models: Any, answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    student, _ = models
    stage = stage_of(Dpo, "dpo")
    loader = PairLoader(answers.pairs(), **answers.LOADER)
    scored(stage, loader)
    batch = loader.next()
    stage(batch)["dpo"].backward()
    with torch.no_grad():
        before_B2 = stage.log_probs(batch)
        for parameter in student.parameters():
            parameter -= 1e-2 * (0 if parameter.grad is None else parameter.grad)
        after_B2 = stage.log_probs(batch)
    lead_B = (after_B2 - before_B2) @ torch.tensor([1.0, -1.0])
    assert bool((lead_B > 0).all())


def test_a_loss_on_logits_beside_it_reads_the_chosen_answers_alone(
    answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    stage = stage_of(Dpo, "dpo", "ce", "kl")
    loader = PairLoader(answers.pairs(), **answers.LOADER)
    scored(stage, loader)
    batch = loader.next()
    tuned = stage_of(Sft, "ce", "kl")(batch.chosen)
    found = stage(batch)
    assert set(found) == {"dpo", "ce", "kl"}
    for name in ("ce", "kl"):
        torch.testing.assert_close(found[name], tuned[name])


def test_the_reference_is_found_again_by_all_that_decides_it(
    models: Any, answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    student, _ = models
    stage = stage_of(Dpo, "dpo")
    loader = PairLoader(answers.pairs(), **answers.LOADER)
    assert "scoring 9 pairs" in scored(stage, loader)[0]
    known = loader.reference_N2
    again = PairLoader(answers.pairs(), **(answers.LOADER | {"seed": 6}))
    assert "is in the cache" in scored(stage, again)[0]
    assert again.reference_N2.equal(known)
    assert "scoring 8 pairs" in scored(stage, PairLoader(answers.pairs(8), **answers.LOADER))[0]
    (file,) = [f for f in cache_dir().rglob("*.safetensors") if f.stat().st_size > 140]
    file.write_bytes(file.read_bytes()[:-8])
    assert "scoring 9 pairs" in scored(stage, loader)[0]
    with torch.no_grad():
        next(student.parameters()).add_(1e-3)
    assert "scoring 9 pairs" in scored(stage, loader)[0]
    assert not loader.reference_N2.equal(known)


def test_pairs_without_a_reference_are_refused(
    answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    stage = stage_of(Dpo, "dpo")
    with pytest.raises(ValueError, match="log-probabilities are not known"):
        stage(PairLoader(answers.pairs(), **answers.LOADER).next())
    with pytest.raises(ValueError, match="dpo reads pairs, and no loss of its losses"):
        stage_of(Dpo, "ce")
    with pytest.raises(ValueError, match="sft reads examples, and dpo of its losses compares"):
        stage_of(Sft, "dpo")


def test_held_out_pairs_are_measured_by_their_loss_and_read_by_accuracy(
    tiny: ModuleType, answers: ModuleType, stage_of: Callable[..., Any]
) -> None:
    stage = stage_of(Dpo, "dpo")
    loader = PairLoader(answers.pairs(), **answers.LOADER)
    loader.reference_N2 = torch.zeros(9, 2)
    found = Validation(loader=loader, batches=2).measure(stage, tiny.plan(noise=False).accelerator)
    assert held_out(found) == found["preference"]
    assert 0 <= found["accuracy"] <= 1
    lead_B = stage.log_probs(loader.batch_of(range(9), 0.0)) @ torch.tensor([1.0, -1.0])
    order = loader._layout(np.random.default_rng([5, 0]))[:4]
    assert found["accuracy"] == pytest.approx(float((lead_B[order] > 0).float().mean()))


def test_a_reference_of_other_pairs_is_refused(answers: ModuleType) -> None:
    reference = Reference(
        [PairLoader(answers.pairs(), **answers.LOADER)], batch=2, precision="fp32"
    )
    with pytest.raises(CheckpointError, match="not that of 9 pairs"):
        reference.restore({"0": torch.zeros(8, 2)})
