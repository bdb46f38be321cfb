from __future__ import annotations

import pytest
import torch
from torch import nn

from asnn_goose.train import gradient_norm
from asnn_goose.train.optimiser import Trained


@pytest.mark.parametrize(("by", "wanted"), [("all", (0.6, 0.8)), ("group", (1.0, 1.0))])
def test_norms_are_limited_together_or_by_group(by: str, wanted: tuple[float, float]) -> None:
    trained = [Trained(f"student.{g}", g, nn.Parameter(torch.zeros(1))) for g in ("a", "b")]
    for entry, value in zip(trained, (3.0, 4.0), strict=True):
        entry.parameter.grad = torch.full((1,), value)
    norms = gradient_norm.norms(trained, by=by)
    assert float(gradient_norm.total(norms)) == pytest.approx(5.0)
    gradient_norm.clip(trained, norms, most=1.0, by=by)
    assert [float(e.parameter.grad) for e in trained] == pytest.approx(wanted, rel=1e-5)  # type: ignore[arg-type]
    assert float(gradient_norm.factor(torch.tensor(5.0), 1.0)) == pytest.approx(0.2)
    assert float(gradient_norm.factor(torch.tensor(0.5), 1.0)) == 1.0
