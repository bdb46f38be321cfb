"""What every mixer of the table, and every preset, must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import PackSettings, pack
from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.model import (
    PRESETS,
    VARIANTS,
    GooseCache,
    GooseConfig,
    GooseForCausalLM,
    Teacher,
    convert,
    student_config,
)
from asnn_goose.model.mixers import MIXERS
from asnn_goose.model.starts.balance import balance
from asnn_goose.trace import Batch, Window
from asnn_goose.train.stages import STAGES

Fresh = Callable[..., GooseForCausalLM]
CONVERTED = {name: settings.get("mixer", "rwkv7") for name, settings in VARIANTS.items()}


def batch(tokens_BT: Tensor) -> Batch:
    labels_BT = tokens_BT.roll(-1, 1)
    return Batch(tokens_BT=tokens_BT, labels_BT=labels_BT, documents_BT=torch.zeros_like(tokens_BT))


def awake(model: GooseForCausalLM) -> GooseForCausalLM:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def published(teacher: Teacher) -> Callable[[str], GooseForCausalLM]:
    """A model of a preset in the tiny teacher's size, every part of which speaks."""

    def make(name: str) -> GooseForCausalLM:
        torch.manual_seed(0)
        config = student_config(teacher, preset=name, eos_token_id=None)
        student = awake(GooseForCausalLM(config))
        with torch.no_grad():  # heads of 16 and 41 tokens make few sums that would fire
            for place, parameter in student.named_parameters():
                if name == "spikebert" and place.endswith("_norm.bias"):
                    parameter.add_(1.0)
        return student

    return make


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_by_cache_as_in_parallel(
    published: Callable[[str], GooseForCausalLM], name: str, tokens_BT: Tensor
) -> None:
    student, cache = published(name), GooseCache()
    pieces = tokens_BT.split([7, 1, 1, 20, *[1] * 12], dim=1)
    steps = [student(x, past_key_values=cache, use_cache=True).logits for x in pieces]
    whole = student(tokens_BT).logits
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_what_comes_later_changes_nothing(
    published: Callable[[str], GooseForCausalLM], name: str, tokens_BT: Tensor
) -> None:
    student = published(name)
    before = student(tokens_BT).logits[:, :20]
    other_BT = tokens_BT.clone()
    other_BT[:, 20:] = (other_BT[:, 20:] + 1) % 97
    torch.testing.assert_close(student(other_BT).logits[:, :20], before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_documents_are_read_as_if_alone(
    published: Callable[[str], GooseForCausalLM], name: str, tokens_BT: Tensor
) -> None:
    student = published(name)
    documents_BT = torch.zeros_like(tokens_BT)
    documents_BT[0, 9:], documents_BT[1, 25:] = 1, 1
    needs = frozenset({"hidden"})
    packed = student.trace(tokens_BT, needs, window=Window(documents_BT=documents_BT)).hidden[-1]
    for row, start in ((0, 9), (1, 25)):
        alone = student.trace(tokens_BT[row : row + 1, start:], needs).hidden[-1]
        torch.testing.assert_close(packed[row, start:], alone[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_left_padding_leaves_no_trace(
    published: Callable[[str], GooseForCausalLM], name: str, tokens_BT: Tensor
) -> None:
    student = published(name)
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[0, :6] = 0
    padded = student(tokens_BT, attention_mask=mask_BT, use_cache=True)
    alone = student(tokens_BT[:1, 6:], use_cache=True)
    torch.testing.assert_close(padded.logits[:1, 6:], alone.logits, atol=1e-4, rtol=1e-4)
    of_padded, of_alone = padded.past_key_values, alone.past_key_values
    for ours, theirs in zip(of_padded.blocks, of_alone.blocks, strict=True):
        for one, other in zip(ours.tensors(), theirs.tensors(), strict=True):
            torch.testing.assert_close(one[:1], other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_it_generates_with_beams(
    published: Callable[[str], GooseForCausalLM], name: str, tokens_BT: Tensor
) -> None:
    prompt = {"attention_mask": torch.ones_like(tokens_BT), "pad_token_id": 0}
    student = published(name)
    found = student.generate(tokens_BT, do_sample=False, max_new_tokens=3, num_beams=2, **prompt)
    assert found.shape == (2, 44)
    greedy = student.generate(tokens_BT, do_sample=False, max_new_tokens=2, **prompt)
    again = student(greedy[:, :-1]).logits[:, -2:].argmax(-1)
    assert torch.equal(again, greedy[:, -2:])


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_of_a_preset_learns_from_text(
    published: Callable[[str], GooseForCausalLM], name: str, tokens_BT: Tensor
) -> None:
    student = published(name).train()
    objective = Objective([Term(n, 1.0, VOCAB_LOSSES[n]()) for n in ("ce", "l2_wrap")])
    stage = STAGES["pretrain"](student=student, teacher=None, objective=objective)
    sum(stage(batch(tokens_BT)).values()).backward()
    still = [n for n, p in student.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert still == []


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"rwkv7"}))
def test_the_engine_refuses_what_it_does_not_know(
    published: Callable[[str], GooseForCausalLM], name: str
) -> None:
    with pytest.raises(ExportError, match=r"mixer = .*must be rwkv7.*PyTorch runs this student"):
        pack(published(name), PackSettings())


@pytest.mark.parametrize("variant", CONVERTED)
def test_a_converted_student_aligns_and_distils(
    teacher: Teacher, variant: str, tokens_BT: Tensor
) -> None:
    student = convert(teacher, variant=variant).train()
    assert isinstance(student.blocks[0].mixer, MIXERS[CONVERTED[variant]])
    for kind, losses in (("align", ["attention_output"]), ("distill", ["kl", "hidden"])):
        terms = [Term(name, 1.0, {**LOSSES, **VOCAB_LOSSES}[name]()) for name in losses]
        stage = STAGES[kind](student=student, teacher=teacher, objective=Objective(terms))
        trained = [p for n, p in student.named_parameters() if kind == "distill" or ".mixer." in n]
        # A tiny random teacher is sure of nothing: large steps of all weights would overshoot.
        optimiser = torch.optim.Adam(trained, lr={"align": 5e-3, "distill": 1e-4}[kind])
        found = []
        for _ in range(10):
            total = sum(stage(batch(tokens_BT)).values())
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            found.append(float(total.detach()))
        assert found[-1] < 0.97 * found[0], (kind, found)


@pytest.mark.parametrize("variant", CONVERTED)
@torch.no_grad()
def test_what_a_teacher_lacks_starts_without_effect(teacher: Teacher, variant: str) -> None:
    """MLPs, norms and words are the teacher's own, mixers near neutral: no output blows up."""
    student = convert(teacher, variant=variant)
    tokens_BT = torch.arange(20).view(1, 20)
    needs = frozenset({"mixer_in", "mixer_out"})
    theirs = teacher.trace(tokens_BT, needs)
    ours = student.drive(theirs.mixer_in)
    for one, other in zip(ours.mixer_out, theirs.mixer_out, strict=True):
        assert 0.02 < float(one.norm() / other.norm()) < 20


@pytest.mark.parametrize("variant", CONVERTED)
@torch.no_grad()
def test_channels_balance_without_a_trace(
    teacher: Teacher, variant: str, tokens_BT: Tensor
) -> None:
    student = convert(teacher, variant=variant)
    awake(student)
    before = student(tokens_BT).logits
    trace = student.trace(tokens_BT, frozenset({"hidden", "mixer_out"}))
    assert balance(student, [trace], strength=0.5) > 0
    torch.testing.assert_close(student(tokens_BT).logits, before, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("variant", CONVERTED)
def test_it_takes_ternary_weights_and_spikes(
    teacher: Teacher, variant: str, tokens_BT: Tensor
) -> None:
    """A matrix of zeros has no scale to divide by: RWKV-4 starts with three of them."""
    student = convert(teacher, variant=variant).train()
    rotated = {"receptance": {"rotate": True}, "value": {"rotate": True}}
    student.set_precision({"*": {"planes": 1, "steps": 3, "threshold": 4.0}} | rotated)
    trace = student.trace(tokens_BT, frozenset({"vocab"}))
    loss = trace.vocab(slice(None)).square().mean()
    loss.backward()
    assert bool(loss.isfinite())
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in student.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixer": "rwkv6", "rope": True}, "rope = True: must be false"),
        ({"mixer": "rwkv4", "gate": "one_plus"}, "gate = 'one_plus': must be 'sigmoid'"),
        ({"mixer": "rwkv5", "shift_rank": 8}, "shift_rank = 8: must be 0"),
        ({"mixer": "rwkv6", "qk_norm_over": "all"}, "qk_norm_over = 'all': must be 'head'"),
        ({"mixer": "rwkv7", "gate": "silu"}, "gate = 'silu': "),
        ({"mixer": "rwkv4", "removal_key": False}, "removal_key = False: must be true"),
    ],
)
def test_settings_of_other_mixers_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GooseConfig(**changes)
