from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from asnn_goose.losses.cross_entropy import CrossEntropy
from asnn_goose.losses.kinds import Chunk
from asnn_goose.losses.kl import KL
from asnn_goose.trace import IGNORED_LABEL

CHUNK = Chunk(
    labels_n=torch.tensor([0, 2, IGNORED_LABEL]),
    mask_n=torch.tensor([True, True, False]),
    progress=0.0,
)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("fused", [True, False])
def test_kl_is_the_sum_over_the_vocabulary(
    temperature: float, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:  # as on a GPU, or without the compiled module
        monkeypatch.setattr("asnn_goose.losses.kl.fits_vocabulary", lambda ours, theirs: False)
    z_student, z_teacher = torch.randn(2, 3, 5, dtype=torch.float64).unbind()
    p = torch.softmax(z_teacher / temperature, -1)
    q = torch.softmax(z_student / temperature, -1)
    wanted = temperature**2 * (p * (p / q).log()).sum(-1)
    found = KL(temperature=temperature)(z_student.float(), z_teacher.float(), CHUNK)
    assert torch.allclose(found.double(), wanted, atol=1e-5)


def test_kl_is_forward_not_reverse() -> None:
    sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert float(KL()(sure, unsure, CHUNK)) > 3 * float(KL()(unsure, sure, CHUNK))


def test_gradients_keep_their_size_at_high_temperature() -> None:
    norms = []
    for temperature in (5.0, 50.0):
        z = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()
        target = torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
        KL(temperature=temperature)(z, target, CHUNK).sum().backward()
        assert z.grad is not None
        norms.append(float(z.grad.norm()))
    assert norms[1] == pytest.approx(norms[0], rel=0.2)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="temperature = 0"):
        KL(temperature=0.0)
    with pytest.raises(ValueError, match="needs teacher logits"):
        KL()(torch.zeros(3, 5), None, CHUNK)


def test_cross_entropy_counts_labels_alone() -> None:
    z = torch.randn(3, 5)
    wanted = -torch.log_softmax(z, -1)
    found = CrossEntropy()(z, None, CHUNK)
    assert torch.allclose(found, torch.stack([wanted[0, 0], wanted[1, 2], torch.tensor(0.0)]))


@pytest.mark.parametrize(
    ("schedule", "end", "taus"), [("rising", 4.0, (2, 3, 4)), ("falling", 1.0, (2, 1.5, 1))]
)
def test_the_temperature_follows_the_stage(
    schedule: str, end: float, taus: tuple[float, ...]
) -> None:
    loss = KL(temperature=2.0, temperature_end=end, schedule=schedule)
    z, target = torch.randn(2, 3, 5).unbind()
    for progress, tau in zip((0.0, 0.5, 1.0), taus, strict=True):
        found = loss(z, target, dataclasses.replace(CHUNK, progress=progress))
        assert torch.allclose(found, KL(temperature=tau)(z, target, CHUNK), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"schedule": "sideways"}, "schedule = 'sideways'"),
        ({"temperature_end": 2.0}, "temperature_end = 2.0: a constant schedule has none"),
        ({"schedule": "rising"}, "give temperature_end"),
        ({"schedule": "rising", "temperature_end": 0.5}, "must be above temperature = 1.0"),
        ({"schedule": "falling", "temperature_end": 2.0}, "below temperature = 1.0"),
        ({"schedule": "falling", "temperature_end": 0.0}, "above 0"),
    ],
)
def test_wrong_schedules_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        KL(**settings)


def test_log_probabilities_are_computed_once_and_never_lose_their_graph() -> None:
    z = torch.randn(3, 5, requires_grad=True)
    chunk = dataclasses.replace(CHUNK)
    with torch.no_grad():
        blind = chunk.log_probs(z)
    seen = chunk.log_probs(z)
    assert not blind.requires_grad
    assert seen.requires_grad
    assert chunk.log_probs(z) is seen
    assert torch.allclose(chunk.log_probs(z, 2.0), torch.log_softmax(z / 2, -1))
    assert torch.equal(chunk.log_probs(z + 1.0), torch.log_softmax(z + 1.0, -1))
