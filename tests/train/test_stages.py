from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.losses import LOSSES, PAIR_LOSSES, VOCAB_LOSSES, Objective, Term, TraceLoss
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.ternary import TernaryMethod
from asnn_goose.trace import PLACES, Batch, Trace, Window
from asnn_goose.train.stages import STAGES, Align, AlignBlocks, Distill
from asnn_goose.train.stages.replace import Replacing


class Recorder:
    """A teacher that notes what is asked of it."""

    def __init__(self, teacher: Any) -> None:
        self.teacher = teacher
        self.asked: list[frozenset[str]] = []

    def trace(self, tokens_BT: torch.Tensor, needs: frozenset[str], *, window: Window) -> Any:
        self.asked.append(needs)
        return self.teacher.trace(tokens_BT, needs, window=window)


def objective(*names: str) -> Objective:
    return Objective(
        [Term(n, 1.0, {**LOSSES, **VOCAB_LOSSES, **PAIR_LOSSES}[n]()) for n in names], chunk=8
    )


@pytest.fixture
def parts(tiny: ModuleType) -> Any:
    plan = tiny.plan(noise=False)
    batch = plan.stages[0].loader.next(0.0)
    return plan.student, Recorder(plan.stages[0].stage.teacher), batch


def test_align_asks_for_attention_and_never_for_logits(parts: Any) -> None:
    student, teacher, batch = parts
    terms = Align(student=student, teacher=teacher, objective=objective("attention_output"))(batch)
    assert teacher.asked == [frozenset({"mixer_in", "mixer_out"})]
    assert set(terms) == {"attention_output"}


def test_align_reaches_every_mixer_and_nothing_else(parts: Any) -> None:
    student, teacher, batch = parts
    stage = Align(student=student, teacher=teacher, objective=objective("attention_output"))
    stage(batch)["attention_output"].backward()
    reached = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert all(".mixer." in name for name in reached)
    for block in (0, 1):
        for matrix in ("receptance", "key", "value", "output"):
            assert f"blocks.{block}.mixer.{matrix}.weight" in reached


def test_align_gives_every_mixer_its_teachers_own_input(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    student, teacher, batch = parts
    wanted = teacher.trace(batch.tokens_BT, frozenset({"mixer_in"}), window=Window()).mixer_in
    drive, seen = student.drive, list[Tensor]()

    def noted(inputs: tuple[Tensor, ...], **settings: Any) -> Trace:
        seen.extend(inputs)
        found: Trace = drive(inputs, **settings)
        return found

    monkeypatch.setattr(student, "drive", noted)
    Align(student=student, teacher=teacher, objective=objective("attention_output"))(batch)
    assert len(seen) == 2
    assert all(map(torch.equal, seen, wanted))
    assert not torch.equal(*seen)


def test_align_refuses_losses_over_logits(parts: Any) -> None:
    student, teacher, _ = parts
    with pytest.raises(ValueError, match="align cannot give vocab"):
        Align(student=student, teacher=teacher, objective=objective("kl"))


def test_distill_runs_both_models_once(parts: Any) -> None:
    student, teacher, batch = parts
    terms = Distill(student=student, teacher=teacher, objective=objective("kl", "ce"))(batch)
    assert teacher.asked == [frozenset({"vocab"})]
    final = student.trace(batch.tokens_BT, frozenset({"vocab"})).vocab(slice(None))
    expected = torch.nn.functional.cross_entropy(final, batch.labels_BT.flatten())
    torch.testing.assert_close(terms["ce"], expected)


def test_distill_without_a_loss_on_the_teacher_does_not_run_it(parts: Any) -> None:
    student, teacher, batch = parts
    Distill(student=student, teacher=teacher, objective=objective("ce"))(batch)
    assert teacher.asked == []


@pytest.mark.parametrize("kind", sorted(STAGES))
def test_teacher_is_no_part_of_the_stage(parts: Any, kind: str) -> None:
    student, teacher, _ = parts
    loss = {"distill": "kl", "pretrain": "ce", "sft": "ce", "dpo": "dpo", "gkd": "jsd"}
    loss |= {"equilibrium": "kl", "slide": "block_output"}
    loss |= {"calibrate_blocks": "block_output"}
    own: dict[str, Any] = {"gkd": {"samples": None}, "equilibrium": {"steps": 2}}
    own |= {"slide": {"span": 2}, "replace": {"replacing": Replacing()}}
    stage = STAGES[kind](
        student=student,
        teacher=teacher.teacher if kind == "replace" else teacher.teacher.model,
        objective=objective(loss.get(kind, "attention_output")),
        **own.get(kind, {}),
    )
    assert {name.split(".")[0] for name, _ in stage.named_parameters()} == {"student"}


@pytest.mark.parametrize("kind", sorted(kind for kind in STAGES if PLACES - STAGES[kind].gives))
def test_a_stage_names_itself_as_the_recipe_does(kind: str) -> None:
    place = min(PLACES - STAGES[kind].gives)

    class Greedy(TraceLoss):
        """Needs a place that this stage does not give."""

        needs = frozenset({place})

        def forward(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
            raise AssertionError("the check comes first")

    pairs = [Term("dpo", 1.0, PAIR_LOSSES["dpo"]())] if STAGES[kind].reads == "pairs" else []
    with pytest.raises(ValueError, match=f"^{kind} cannot give {place}"):
        STAGES[kind].check(Objective([Term("greedy", 1.0, Greedy()), *pairs]))


def test_blocks_are_aligned_one_by_one(parts: Any) -> None:
    student, teacher, batch = parts
    stage = AlignBlocks(
        student=student, teacher=teacher, objective=objective("attention_output", "mlp_output")
    )
    student.set_precision({"*": {"planes": 1}})
    terms = stage(batch)
    assert teacher.asked == [frozenset({"hidden", "mixer_out", "mlp_out"})]
    sum(terms.values()).backward()
    reached = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert all(name.startswith("blocks.") for name in reached)
    for part in ("mixer_norm", "mlp_norm", "mixer.value", "mlp.down"):
        assert {f"blocks.{block}.{part}.weight" for block in (0, 1)} <= reached


def test_no_block_sees_the_errors_of_another(parts: Any) -> None:
    student, teacher, batch = parts
    stage = AlignBlocks(student=student, teacher=teacher, objective=objective("mlp_output"))
    with torch.no_grad():
        before = float(stage(batch)["mlp_output"])
        student.get_parameter("blocks.0.mixer.output.weight").add_(1.0)
        assert float(stage(batch)["mlp_output"]) == before
        student.get_parameter("blocks.0.mlp.down.weight").add_(1.0)
        assert float(stage(batch)["mlp_output"]) > before


@pytest.mark.parametrize(
    ("kind", "loss"),
    [("align", "attention_output"), ("align_blocks", "mlp_output"), ("distill", "kl")],
)
def test_precision_that_falls_within_a_stage_hears_how_far_it_is(
    kind: str, loss: str, parts: Any, tiny: ModuleType
) -> None:
    student, teacher, _ = parts
    student.set_precision({"*": {"planes": 1, "ternary": "arenas", "steps": 1}, "v": {"steps": 1}})
    batch = tiny.plan(noise=False).stages[0].loader.next(0.25)
    STAGES[kind](student=student, teacher=teacher, objective=objective(loss))(batch)
    heard = [m.share for m in student.modules() if isinstance(m, TernaryMethod)]
    heard += [m.progress for m in student.modules() if isinstance(m, Neuron)]
    assert len(heard) == 2 * 14 + 2
    assert set(heard) == {0.25}


def test_an_equilibrium_says_how_far_its_spikes_are_from_the_formula(parts: Any) -> None:
    student, teacher, batch = parts
    student.set_precision({"*": {"neuron": "spikingbert", "steps": 4, "code": "rate"}})
    stage = STAGES["equilibrium"](
        student=student, teacher=teacher, objective=objective("kl", "hidden"), steps=20
    )
    terms = stage(batch)
    assert teacher.asked == [frozenset({"vocab", "hidden"})]
    sum(terms.values()).backward()
    assert student.get_parameter("blocks.0.mlp.gate.weight").grad is not None
    assert 0 < stage.readings()["equilibrium.gap"] < 1
    assert stage.readings() == {}
