"""Operands of wkv7, one way to compare all that comes out, and every instruction set here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops import native_available
from asnn_goose.ops.wkv7 import wkv7

NAMES = ("r", "log_w", "k", "v", "alpha", "beta", "state")
LOWEST_LOG_W = -0.6065306597126334


@dataclass(frozen=True, kw_only=True)
class Operands:
    """Inputs in the order of wkv7, and gradients to send back through y and the final state."""

    inputs: tuple[Tensor, ...]
    dy_BTHN: Tensor
    dfinal_BHNN: Tensor

    def to(self, dtype: torch.dtype) -> Operands:
        return Operands(
            inputs=tuple(x.to(dtype) for x in self.inputs),
            dy_BTHN=self.dy_BTHN.to(dtype),
            dfinal_BHNN=self.dfinal_BHNN.to(dtype),
        )

    def run(
        self, run: Callable[..., tuple[Tensor, Tensor]] = wkv7, **settings
    ) -> dict[str, Tensor]:
        """y, the final state and the gradient of every input."""
        leaves = [x.detach().clone().requires_grad_() for x in self.inputs]
        y, final = run(*leaves, **settings)
        gradients = torch.autograd.grad((y, final), leaves, (self.dy_BTHN, self.dfinal_BHNN))
        named = {f"d{name}": gradient for name, gradient in zip(NAMES, gradients, strict=True)}
        return {"y": y.detach(), "final": final.detach(), **named}


@pytest.fixture
def operands() -> Callable[..., Operands]:
    def make(*, B: int = 2, T: int, H: int = 2, N: int = 16, seed: int = 0) -> Operands:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        r, k, v, decay, kappa, rate, dy = (normal(B, T, H, N) for _ in range(7))
        kappa = F.normalize(kappa, dim=-1)
        return Operands(
            inputs=(
                r,
                LOWEST_LOG_W * torch.sigmoid(2 * decay),
                k,
                v,
                -kappa,
                kappa * torch.sigmoid(rate),
                normal(B, H, N, N),
            ),
            dy_BTHN=dy,
            dfinal_BHNN=normal(B, H, N, N),
        )

    return make


@pytest.fixture
def assert_close() -> Callable[..., None]:
    """Compares each tensor in the norm, relative to the wanted one."""

    def check(got: dict[str, Tensor], want: dict[str, Tensor], *, relative: float) -> None:
        assert got.keys() == want.keys()
        for name, wanted in want.items():
            error = (got[name].double() - wanted).norm() / wanted.norm()
            assert error <= relative, f"{name}: relative error {error:.2e} > {relative:.0e}"

    return check


def instruction_sets() -> list[str]:
    if not native_available():
        return []
    from asnn_goose import _native

    return _native.isas()


@pytest.fixture(params=instruction_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each that the compiled kernels offer here; without kernels a test that asks is skipped."""
    from asnn_goose import _native

    monkeypatch.setenv("ASNN_GOOSE_ISA", request.param)
    assert _native.isa() == request.param
    return request.param
