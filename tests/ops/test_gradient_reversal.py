from __future__ import annotations

import pytest
import torch

from asnn_goose.ops.gradient_reversal import reverse_gradient


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, -1.0])
def test_forward_is_the_identity_and_backward_is_scaled_and_reversed(strength: float) -> None:
    x = torch.randn(5, requires_grad=True)
    y = reverse_gradient(x, strength)
    assert torch.equal(y, x)
    upstream = torch.randn(5)
    y.backward(upstream)
    assert x.grad is not None
    assert torch.equal(x.grad, -strength * upstream)
