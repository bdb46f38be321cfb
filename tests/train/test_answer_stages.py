"""Stages that read examples: apart from each other, answers alone, references kept, own samples."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asnn_goose.data.example_batches import ExampleLoader
from asnn_goose.data.examples import Example, Pair
from asnn_goose.data.pair_batches import PairLoader
from asnn_goose.losses import PAIR_LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.sources import cache_dir
from asnn_goose.trace import IGNORED_LABEL, Batch, Window
from asnn_goose.train.loop import run
from asnn_goose.train.reference import Reference
from asnn_goose.train.run_errors import CheckpointError, RunInterrupted
from asnn_goose.train.sampling import drawn
from asnn_goose.train.stages import Distill, Dpo, Gkd, Sft
from asnn_goose.train.stages.gkd import Samples
from asnn_goose.train.validation import Validation, held_out

WINDOW = 24
END = 96
SAMPLES = Samples(
    share=1.0, tokens=6, temperature=1.0, window=WINDOW, ends=frozenset({END}), padding=0
)
LOADER = {"window": WINDOW, "batch": 2, "seed": 5, "padding": 0}


def example(prompt: int, answer: int, *, seed: int) -> Example:
    ids_N = np.random.default_rng(seed).integers(1, END, prompt + answer)
    return Example(ids_N=ids_N, answer_N=np.arange(len(ids_N)) >= prompt, place=f"{seed}")


def examples() -> list[Example]:
    return [example(2 + n % 3, 2 + n % 4, seed=n) for n in range(14)]


def pairs(count: int = 9) -> list[Pair]:
    found = []
    for n in range(count):
        chosen, other = example(3, 2 + n % 3, seed=n), example(0, 4, seed=100 + n)
        ids_N = np.concatenate([chosen.ids_N[:3], other.ids_N])
        rejected = Example(ids_N=ids_N, answer_N=np.arange(7) >= 3, place="r")
        found.append(Pair(chosen=chosen, rejected=rejected))
    return found


def objective(*names: str, chunk: int = 8, **settings: Any) -> Objective:
    rows = {**VOCAB_LOSSES, **PAIR_LOSSES}
    return Objective([Term(n, 1.0, rows[n](**settings.get(n, {}))) for n in names], chunk=chunk)


@pytest.fixture
def models(tiny: ModuleType) -> Any:
    plan = tiny.plan(noise=False)
    return plan.student, plan.stages[0].stage.teacher


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))


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


# Supervised fine-tuning


def value(term: Tensor) -> float:
    return float(term.detach())


def alone(one: Example) -> Batch:
    return ExampleLoader([one], window=len(one) - 1, batch=1, seed=0, padding=0).next()


def test_examples_in_one_row_learn_as_if_each_were_alone(models: Any) -> None:
    student, teacher = models
    stage = Sft(student=student, teacher=teacher, objective=objective("ce", "kl"))
    several = examples()[:4]
    row = ExampleLoader(several, window=40, batch=1, seed=0, padding=0).next()
    assert row.documents_BT.unique().tolist() == [0, 1, 2, 3, 4]
    together = stage(row)
    counts = [int(one.answer_N.sum()) for one in several]
    for name in ("ce", "kl"):
        each = [value(stage(alone(one))[name]) * n for one, n in zip(several, counts, strict=True)]
        assert value(together[name]) == pytest.approx(sum(each) / sum(counts), rel=1e-5)


def test_without_a_reset_one_example_would_read_another(models: Any) -> None:
    student, teacher = models
    row = ExampleLoader(examples()[:4], window=40, batch=1, seed=0, padding=0).next()
    stages = [
        kind(student=student, teacher=teacher, objective=objective("ce")) for kind in (Sft, Distill)
    ]
    apart, leaking = (value(stage(row)["ce"]) for stage in stages)
    assert abs(apart - leaking) > 1e-4


def test_prompts_count_in_no_loss_and_are_read(models: Any) -> None:
    student, teacher = models
    stage = Sft(student=student, teacher=teacher, objective=objective("ce"))
    one = example(5, 3, seed=1)
    batch = alone(one)
    logits_TV = student.trace(batch.tokens_BT, frozenset({"vocab"})).vocab(slice(None))
    answer_T = torch.from_numpy(one.ids_N[5:])
    expected = torch.nn.functional.cross_entropy(logits_TV[4:], answer_T)
    torch.testing.assert_close(stage(batch)["ce"], expected)
    other = replace_token(one, 0)
    assert value(stage(alone(other))["ce"]) != pytest.approx(value(expected), abs=1e-6)


def replace_token(one: Example, place: int) -> Example:
    ids_N = one.ids_N.copy()
    ids_N[place] = ids_N[place] % 90 + 1
    return Example(ids_N=ids_N, answer_N=one.answer_N, place=one.place)


def test_held_out_examples_are_measured_by_their_answers(models: Any, tiny: ModuleType) -> None:
    student, teacher = models
    stage = Sft(student=student, teacher=teacher, objective=objective("ce"))
    loader = ExampleLoader(examples(), **LOADER)
    accelerator = tiny.plan(noise=False).accelerator
    found = Validation(loader=loader, batches=2).measure(stage, accelerator)
    sums = [(value(stage(b)["ce"]), int(b.mask_BT.sum())) for b in (loader.next(), loader.next())]
    mean = sum(ce * n for ce, n in sums) / sum(n for _, n in sums)
    assert found == {"ce": pytest.approx(mean, rel=1e-5)}


# Preferences


def test_a_stage_begins_at_its_reference(models: Any) -> None:
    student, teacher = models
    stage = Dpo(student=student, teacher=teacher, objective=objective("dpo"))
    loader = PairLoader(pairs(), **LOADER)
    scored(stage, loader)
    term = stage(loader.next())["dpo"]
    assert value(term) == pytest.approx(np.log(2), abs=1e-5)
    readings = stage.readings()
    assert readings["pairs.margin"] == pytest.approx(0, abs=1e-4)
    assert stage.readings() == {}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("name", sorted(PAIR_LOSSES))
def test_a_loss_on_pairs_is_that_of_four_sums(models: Any, name: str, normalised: bool) -> None:
    student, teacher = models
    own = {name: {"beta": 0.4, "length_normalised": normalised}}
    stage = Dpo(student=student, teacher=teacher, objective=objective(name, **own))
    loader = PairLoader(pairs(), **LOADER)
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
    assert readings["pairs.margin"] == pytest.approx(value(margin_B.mean()), rel=1e-4)
    assert readings["pairs.accuracy"] == pytest.approx(float((margin_B > 0).float().mean()))
    assert readings["pairs.chosen"] == pytest.approx(0.4 * value(gains[0].mean()), rel=1e-4)


def sums(student: Any, side: Batch) -> Tensor:
    """log p of each row's labels (B,), row by row and from whole logits."""
    found = []
    for tokens_T, labels_T in zip(side.tokens_BT, side.labels_BT, strict=True):
        kept = int((labels_T != IGNORED_LABEL).nonzero().max()) + 1
        row = student.trace(tokens_T[None, :kept], frozenset({"vocab"})).vocab(slice(None))
        log_p = torch.log_softmax(row, -1).gather(1, labels_T[:kept, None].clamp_min(0))[:, 0]
        found.append((log_p * (labels_T[:kept] != IGNORED_LABEL)).sum())
    return torch.stack(found)


def test_a_step_moves_the_chosen_answer_up_and_the_rejected_down(models: Any) -> None:
    student, teacher = models
    stage = Dpo(student=student, teacher=teacher, objective=objective("dpo"))
    loader = PairLoader(pairs(), **LOADER)
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


def test_a_loss_on_logits_beside_it_reads_the_chosen_answers_alone(models: Any) -> None:
    student, teacher = models
    stage = Dpo(student=student, teacher=teacher, objective=objective("dpo", "ce", "kl"))
    loader = PairLoader(pairs(), **LOADER)
    scored(stage, loader)
    batch = loader.next()
    tuned = Sft(student=student, teacher=teacher, objective=objective("ce", "kl"))(batch.chosen)
    found = stage(batch)
    assert set(found) == {"dpo", "ce", "kl"}
    for name in ("ce", "kl"):
        torch.testing.assert_close(found[name], tuned[name])


def test_the_reference_is_found_again_by_all_that_decides_it(models: Any) -> None:
    student, teacher = models
    stage = Dpo(student=student, teacher=teacher, objective=objective("dpo"))
    loader = PairLoader(pairs(), **LOADER)
    assert "scoring 9 pairs" in scored(stage, loader)[0]
    known = loader.reference_N2
    again = PairLoader(pairs(), **(LOADER | {"seed": 6}))
    assert "is in the cache" in scored(stage, again)[0]
    assert again.reference_N2.equal(known)
    assert "scoring 8 pairs" in scored(stage, PairLoader(pairs(8), **LOADER))[0]
    (file,) = [f for f in cache_dir().rglob("*.safetensors") if f.stat().st_size > 140]
    file.write_bytes(file.read_bytes()[:-8])
    assert "scoring 9 pairs" in scored(stage, loader)[0]
    with torch.no_grad():
        next(student.parameters()).add_(1e-3)
    assert "scoring 9 pairs" in scored(stage, loader)[0]
    assert not loader.reference_N2.equal(known)


def test_pairs_without_a_reference_are_refused(models: Any) -> None:
    student, teacher = models
    stage = Dpo(student=student, teacher=teacher, objective=objective("dpo"))
    with pytest.raises(ValueError, match="log-probabilities are not known"):
        stage(PairLoader(pairs(), **LOADER).next())
    with pytest.raises(ValueError, match="dpo reads pairs, and no loss of its losses"):
        Dpo(student=student, teacher=teacher, objective=objective("ce"))
    with pytest.raises(ValueError, match="sft reads examples, and dpo of its losses compares"):
        Sft(student=student, teacher=teacher, objective=objective("dpo"))


def test_held_out_pairs_are_measured_by_their_loss_and_read_by_accuracy(
    models: Any, tiny: ModuleType
) -> None:
    student, teacher = models
    stage = Dpo(student=student, teacher=teacher, objective=objective("dpo"))
    loader = PairLoader(pairs(), **LOADER)
    loader.reference_N2 = torch.zeros(9, 2)
    found = Validation(loader=loader, batches=2).measure(stage, tiny.plan(noise=False).accelerator)
    assert held_out(found) == found["preference"]
    assert 0 <= found["accuracy"] <= 1
    lead_B = stage.log_probs(loader.batch_of(range(9), 0.0)) @ torch.tensor([1.0, -1.0])
    order = loader._layout(np.random.default_rng([5, 0]))[:4]
    assert found["accuracy"] == pytest.approx(float((lead_B[order] > 0).float().mean()))


# On-policy distillation


def gkd(models: Any, **settings: Any) -> Gkd:
    student, teacher = models
    samples = replace(SAMPLES, **settings)
    return Gkd(student=student, teacher=teacher, objective=objective("jsd"), samples=samples)


def test_own_answers_follow_the_prompts_and_are_the_labels(models: Any) -> None:
    stage = gkd(models)
    batch = ExampleLoader(examples(), alone=True, **LOADER).next(0.5)
    own = stage.own(batch)
    assert own.progress == 0.5
    for row in range(2):
        prompt = batch.tokens_BT[row, : int(batch.mask_BT[row].int().argmax()) + 1]
        length = len(prompt)
        assert own.tokens_BT[row, :length].equal(prompt)
        labels_T = own.labels_BT[row]
        assert (labels_T[: length - 1] == IGNORED_LABEL).all()
        answer = labels_T[labels_T != IGNORED_LABEL]
        assert 1 <= len(answer) <= SAMPLES.tokens
        assert own.tokens_BT[row, length : length + len(answer) - 1].equal(answer[:-1])
    assert 0 < stage.readings()["gkd.length"] <= SAMPLES.tokens


def test_a_row_is_no_longer_than_the_window(models: Any) -> None:
    loader = ExampleLoader(examples(), alone=True, **LOADER)
    assert gkd(models, window=5).own(loader.next()).tokens_BT.shape[1] <= 5


@pytest.mark.parametrize("share", [0.0, 1.0, 0.5])
def test_the_share_says_how_often_answers_are_its_own(
    models: Any, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, drew = gkd(models, share=share), list[int]()
    monkeypatch.setattr(stage, "own", lambda batch: drew.append(1) or batch)
    loader = ExampleLoader(examples(), alone=True, **LOADER)
    torch.manual_seed(4)
    for _ in range(8):
        stage(loader.next())
    torch.manual_seed(4)
    assert len(drew) == sum(float(torch.rand(())) < share for _ in range(8))


def test_the_loss_is_the_divergence_on_what_was_drawn(models: Any) -> None:
    stage = gkd(models)
    batch = ExampleLoader(examples(), alone=True, **LOADER).next()
    torch.manual_seed(3)
    torch.rand(())
    own = stage.own(batch)
    expected = Sft(student=models[0], teacher=models[1], objective=objective("jsd"))(own)["jsd"]
    torch.manual_seed(3)
    found = stage(batch)["jsd"]
    torch.testing.assert_close(found, expected)
    assert found.requires_grad


def test_what_is_drawn_does_not_depend_on_its_neighbours(models: Any) -> None:
    student, _ = models
    student.train()
    prompts = [torch.from_numpy(example(n, 0, seed=n).ids_N) for n in (2, 7, 4)]
    settings = {"tokens": 5, "temperature": 1e-4, "ends": {END}}
    together = drawn(student, prompts, **settings)
    assert student.training
    for prompt, answer in zip(prompts, together, strict=True):
        assert drawn(student, [prompt], **settings)[0].equal(answer)
        whole_T = torch.cat([prompt, answer])[None]
        logits_TV = student.trace(whole_T, frozenset({"vocab"}), window=Window()).vocab(slice(None))
        assert logits_TV.argmax(-1)[len(prompt) - 1 : -1].equal(answer)


def test_nothing_follows_an_end(models: Any) -> None:
    student, _ = models
    prompt = torch.from_numpy(example(4, 0, seed=2).ids_N)
    settings = {"tokens": 6, "temperature": 1e-4}
    (whole,) = drawn(student, [prompt], **settings, ends={END})
    end = int(whole[2])
    first = whole.tolist().index(end)
    others = [torch.from_numpy(example(3, 0, seed=seed).ids_N) for seed in range(20)]
    whole_of = [drawn(student, [other], **settings, ends={END})[0] for other in others]
    longer = next(o for o, w in zip(others, whole_of, strict=True) if end not in w)
    short, long = drawn(student, [prompt, longer], **settings, ends={end})
    assert short.tolist() == whole.tolist()[: first + 1]
    assert len(long) == 6


def test_gkd_without_a_teacher_is_refused(models: Any) -> None:
    with pytest.raises(ValueError, match="ce looks at no teacher: use a loss such as jsd"):
        Gkd(student=models[0], teacher=models[1], objective=objective("ce"), samples=SAMPLES)


# A run of all three


def plan_of(tiny: ModuleType) -> Any:
    """Three steps of each kind, on examples."""
    plan = tiny.plan(noise=False, checkpoint_minutes=60.0)
    student, old = plan.student, plan.stages[1]
    teacher, pair_loader = old.stage.teacher, PairLoader(pairs(), **LOADER)
    rows = {
        "sft": (Sft, objective("ce"), ExampleLoader(examples(), **LOADER), {}),
        "dpo": (Dpo, objective("dpo"), pair_loader, {}),
        "gkd": (
            Gkd,
            objective("jsd"),
            ExampleLoader(examples(), alone=True, **LOADER),
            {"samples": SAMPLES},
        ),
    }
    stages = [
        replace(
            old,
            name=name,
            stage=kind(student=student, teacher=teacher, objective=losses, **own),
            loader=loader,
            schedule=replace(old.schedule, steps=3),
            reference=(
                Reference([pair_loader], batch=2, precision="fp32") if kind is Dpo else None
            ),
        )
        for name, (kind, losses, loader, own) in rows.items()
    ]
    return replace(plan, stages=tuple(stages))


@pytest.fixture(scope="module")
def at_one_go(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        run(plan_of(tiny), out=folder / "run", resume=False, progress=tiny.Watcher())
        yield folder / "run"


@pytest.mark.parametrize("after", [2, 4, 8])
def test_a_run_that_is_broken_off_goes_on_bit_for_bit(
    tiny: ModuleType, at_one_go: Path, tmp_path: Path, after: int
) -> None:
    class Stopping(tiny.Watcher):  # type: ignore[misc, name-defined]
        def on_step(self, info: Any) -> None:
            super().on_step(info)
            if info.run_step == after:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterrupted):
        run(plan_of(tiny), out=tmp_path / "run", resume=False, progress=Stopping())
    for file in cache_dir().rglob("*.safetensors"):
        file.unlink()  # a checkpoint needs no cache: the start is gone by now
    watcher = tiny.Watcher()
    run(plan_of(tiny), out=tmp_path / "run", resume=True, progress=watcher)
    assert any("scoring" in text for text in watcher.messages) == (after == 2)
    assert tiny.weights(tmp_path / "run") == tiny.weights(at_one_go)


def test_a_reference_of_other_pairs_is_refused() -> None:
    reference = Reference([PairLoader(pairs(), **LOADER)], batch=2, precision="fp32")
    with pytest.raises(CheckpointError, match="not that of 9 pairs"):
        reference.restore({"0": torch.zeros(8, 2)})
