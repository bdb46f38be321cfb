from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from asnn_goose.losses import Objective, Term, outputs
from asnn_goose.losses.distances import DISTANCES, beyond_rounding, relative
from asnn_goose.losses.outputs import AttentionOutput
from asnn_goose.trace import Batch, Trace


@pytest.mark.parametrize("distance", ["relative", "l2", "mse"])
def test_distances(distance: str, passing: Callable[[int], Trace], batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    layers = []
    for s, t in zip(student.mixer_out, teacher.mixer_out, strict=True):
        s, t = s[batch.mask_BT].double(), t[batch.mask_BT].double()
        layers.append(
            {
                "relative": ((s - t) ** 2).sum() / (t**2).sum(),
                "l2": ((s - t) ** 2).sum(-1).sqrt().mean() / s.shape[-1] ** 0.5,
                "mse": ((s - t) ** 2).mean(),
            }[distance]
        )
    wanted = torch.stack(layers).mean()
    found = AttentionOutput(distance=distance)(student, teacher, batch)
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)


def test_relative_error_does_not_depend_on_a_layers_scale(
    passing: Callable[[int], Trace], batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    loud = [
        dataclasses.replace(t, mixer_out=(100 * t.mixer_out[0], *t.mixer_out[1:]))
        for t in (student, teacher)
    ]
    quiet = AttentionOutput()(student, teacher, batch)
    assert torch.allclose(AttentionOutput()(*loud, batch), quiet, rtol=1e-5)


def test_an_exact_layer_has_a_finite_gradient(
    passing: Callable[[int], Trace], batch: Batch
) -> None:
    student = passing(1)
    AttentionOutput(distance="l2")(student, passing(1), batch).backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in student.mixer_out)


def test_an_unknown_distance_is_named() -> None:
    with pytest.raises(ValueError, match="distance = 'sine'"):
        AttentionOutput(distance="sine")


def test_the_teachers_size_is_the_measure() -> None:
    ours, theirs = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert float(DISTANCES["token_relative"](ours, theirs)) == pytest.approx((4 + 0.25) / 2)


def test_weights_multiply_losses_of_features_too(
    passing: Callable[[int], Trace], batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    whole, half = (
        Objective([Term("mixers", weight, AttentionOutput())])(student, teacher, batch)["mixers"]
        for weight in (1.0, 0.5)
    )
    assert float(half) == pytest.approx(0.5 * float(whole))


def test_a_loss_inside_the_models_has_its_weight(
    passing: Callable[[int], Trace], batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)

    def costs(weight: float) -> float:
        objective = Objective([Term("attention_output", weight, AttentionOutput())])
        return float(objective(student, teacher, batch)["attention_output"])

    assert costs(3.0) == pytest.approx(3 * costs(1.0))
    assert costs(1.0) > 0


@pytest.mark.parametrize(("off", "counts"), [(3e-8, False), (1e-4, True)])
def test_rounding_alone_teaches_nothing(off: float, counts: bool) -> None:
    """Adam makes whole steps of any gradient, and MLPs that are the teacher's own must stay."""
    teacher = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    student = (teacher * (1 + off)).requires_grad_()
    value = relative(beyond_rounding(student, teacher), teacher)
    value.backward()
    assert student.grad is not None
    assert (float(value.detach()) > 0) == bool(student.grad.abs().max() > 0) == counts


def test_outputs_go_beyond_rounding(
    passing: Callable[[int], Trace], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "beyond_rounding", lambda student, teacher: teacher)
    assert float(AttentionOutput()(passing(1), passing(2), batch)) == 0
