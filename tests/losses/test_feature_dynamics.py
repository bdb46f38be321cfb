from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from asnn_goose.losses.feature_dynamics import FeatureDynamics
from asnn_goose.ops.hsic import unbiased_cka, uncentred_cka
from asnn_goose.trace import IGNORED_LABEL, Batch, Trace

Passing = Callable[[int], Trace]


@pytest.mark.parametrize("kernel", ["unbiased", "uncentred"])
def test_changes_between_layers_are_compared(kernel: str, passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    deep = dataclasses.replace(teacher, hidden=(*teacher.hidden, *passing(3).hidden[:3]))
    alike = {"unbiased": unbiased_cka, "uncentred": uncentred_cka}[kernel]
    s, t = ([h[batch.mask_BT].double() for h in x.hidden] for x in (student, deep))
    values = [1 - alike(s[j] - s[j - 1], t[2 * j] - t[2 * j - 2]).item() for j in (1, 2, 3)]
    found = FeatureDynamics(kernel=kernel)(student, deep, batch)
    assert found.item() == pytest.approx(sum(values) / 3, abs=1e-5)


def test_what_every_layer_shares_does_not_matter(passing: Passing, batch: Batch) -> None:
    student, teacher = passing(1), passing(2)
    common = torch.randn(2, 11, 8, generator=torch.Generator().manual_seed(0))
    moved = dataclasses.replace(student, hidden=tuple(h + common for h in student.hidden))
    wanted = FeatureDynamics()(student, teacher, batch).item()
    assert FeatureDynamics()(moved, teacher, batch).item() == pytest.approx(wanted, abs=1e-5)


def test_too_few_tokens_cost_nothing(passing: Passing, batch: Batch) -> None:
    empty = dataclasses.replace(batch, labels_BT=torch.full_like(batch.labels_BT, IGNORED_LABEL))
    assert FeatureDynamics()(passing(1), passing(2), empty).item() == 0


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="kernel = 'rbf': choose one of unbiased, uncentred"):
        FeatureDynamics(kernel="rbf")
    with pytest.raises(ValueError, match="tokens = 0"):
        FeatureDynamics(tokens=0)
