"""Tokens coded into spikes and multiplied by ternary weights, in compiled kernels (csrc/train).

Codings and weights are the integers of `ops.spike_codes.encode` and `ops.ternary`, to the last one,
and the sums over them are exact, as the engine's are. Gradients are straight-through: to the
weights that of the ternary matrix, to the tokens where the code can follow them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from asnn_goose.ops.fused import COLUMNS, fits
from asnn_goose.ops.hadamard import BLOCK
from asnn_goose.ops.kernel_calls import addresses
from asnn_goose.ops.spike_codes import levels as levels_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How tokens become integers: `ops.spike_codes.encode`, behind a rotation or not."""

    rotate: bool
    steps: int
    code: str
    threshold: float

    @property
    def top(self) -> int:
        """Largest integer."""
        return levels_of(self.code, self.steps)

    def fits(self, x_BK: Tensor) -> bool:
        """Whether the compiled kernel can code a tensor."""
        return fits(x_BK, columns=BLOCK if self.rotate else COLUMNS)


class Coded(NamedTuple):
    """Coded tokens: what their spikes stand for (..., K), with a gradient; and the integers.

    levels_NK  integers + top (uint8), amplitude_N one number a token
    """

    values_BK: Tensor
    levels_NK: Tensor
    amplitude_N: Tensor
    top: int


def code(x_BK: Tensor, coding: Coding) -> Coded:
    """Code every vector of x (..., K), for which `coding.fits`."""
    found = _Code.apply(x_BK, coding)  # type: ignore[no-untyped-call]
    values_BK, levels_NK, amplitude_N = cast(tuple[Tensor, Tensor, Tensor], found)
    return Coded(values_BK, levels_NK, amplitude_N, coding.top)


class _Code(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BK: Tensor, coding: Coding) -> tuple[Tensor, Tensor, Tensor]:
        from asnn_goose import _native

        x_BK = x_BK.contiguous()
        columns = x_BK.shape[-1]
        tokens = x_BK.numel() // columns
        values_BK, amplitude_N = torch.empty_like(x_BK), x_BK.new_empty(tokens)
        levels_NK, passes_NK = torch.empty(2, tokens, columns, dtype=torch.uint8).unbind()
        _native.code(
            sizes=(tokens, columns),
            rotate=coding.rotate,
            steps=coding.steps,
            top=coding.top,
            threshold=coding.threshold,
            x=x_BK.data_ptr(),
            outputs=addresses(levels_NK, passes_NK, amplitude_N, values_BK),
            threads=torch.get_num_threads(),
        )
        ctx.save_for_backward(passes_NK)
        ctx.rotate = coding.rotate
        ctx.mark_non_differentiable(levels_NK, amplitude_N)
        return values_BK, levels_NK, amplitude_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        from asnn_goose import _native

        (passes_NK,) = ctx.saved_tensors
        dvalues_BK = gradients[0].contiguous()
        dx_BK = torch.empty_like(dvalues_BK)
        _native.code_back(
            sizes=tuple(passes_NK.shape),
            rotate=ctx.rotate,
            inputs=addresses(passes_NK, dvalues_BK),
            dx=dx_BK.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return dx_BK, None


class Codes(NamedTuple):
    """A ternary matrix as eight-bit codes (P,O,K), and scales (P,O,G) of groups of K/G columns."""

    codes_POK: Tensor
    scale_POG: Tensor

    def dense(self) -> Tensor:
        """The matrix (O,K) in fp32."""
        from asnn_goose import _native

        planes, rows, columns = self.codes_POK.shape
        out_OK = torch.empty(rows, columns)
        _native.dense_of_planes(
            sizes=(rows, columns, columns // self.scale_POG.shape[-1]),
            planes=planes,
            inputs=addresses(self.codes_POK, self.scale_POG),
            out=out_OK.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return out_OK


@torch.no_grad()
def codes_of(weight_OK: Tensor, *, planes: int, group: int, factor: float) -> Codes | None:
    """`ops.ternary.absmean` (factor 0.5) or `twn`; None where the kernel cannot take the matrix."""
    rows, columns = weight_OK.shape
    if not fits(weight_OK) or (group and group % COLUMNS):
        return None
    from asnn_goose import _native

    group = group or columns
    codes_POK = torch.empty(planes, rows, columns, dtype=torch.int8)
    scale_POG = torch.empty(planes, rows, columns // group)
    _native.quantise(
        sizes=(rows, columns, group),
        planes=planes,
        factor=factor,
        weight=weight_OK.contiguous().data_ptr(),
        outputs=addresses(codes_POK, scale_POG),
        threads=torch.get_num_threads(),
    )
    return Codes(codes_POK, scale_POG)


def spike_product(coded: Coded, weight_OK: Tensor, codes: Codes) -> Tensor:
    """Coded tokens times the ternary matrix that `codes` make of W: (..., K) -> (..., O).

    Codes have one scale a row. The gradient goes to W and the tokens' values.
    """
    y_NO = cast(Tensor, _Product.apply(coded.values_BK, weight_OK, coded, codes))  # type: ignore[no-untyped-call]
    return y_NO


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values_BK: Tensor, weight_OK: Tensor, coded: Coded, codes: Codes
    ) -> Tensor:
        from asnn_goose import _native

        planes, rows, columns = codes.codes_POK.shape
        y_BO = values_BK.new_empty(*values_BK.shape[:-1], rows)
        _native.ternary_product(
            sizes=(len(coded.amplitude_N), columns, rows),
            planes=planes,
            top=coded.top,
            inputs=addresses(coded.levels_NK, coded.amplitude_N, codes.codes_POK, codes.scale_POG),
            y=y_BO.data_ptr(),
            threads=torch.get_num_threads(),
        )
        ctx.save_for_backward(coded.levels_NK, coded.amplitude_N, *codes)
        ctx.top = coded.top
        return y_BO

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        levels_NK, amplitude_N, *codes = ctx.saved_tensors
        dy_BO, dvalues_BK, dweight_OK = gradients[0], None, None
        if ctx.needs_input_grad[0]:
            dvalues_BK = _through(dy_BO, Codes(*codes))
        if ctx.needs_input_grad[1]:
            values_NK = _values(levels_NK, amplitude_N, ctx.top)
            dweight_OK = dy_BO.flatten(0, -2).T @ values_NK
        return dvalues_BK, dweight_OK, None, None


def _through(dy_BO: Tensor, codes: Codes) -> Tensor:
    """Gradients (..., O) times the ternary matrix: (..., K)."""
    from asnn_goose import _native

    planes, rows, columns = codes.codes_POK.shape
    dy_BO = dy_BO.contiguous()
    dvalues_BK = dy_BO.new_empty(*dy_BO.shape[:-1], columns)
    _native.ternary_product_back(
        sizes=(dy_BO.numel() // rows, columns, rows),
        planes=planes,
        inputs=addresses(dy_BO, *codes),
        dvalues=dvalues_BK.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return dvalues_BK


def _values(levels_NK: Tensor, amplitude_N: Tensor, top: int) -> Tensor:
    """What coded tokens stand for (N,K); made anew, being four times as large as the levels."""
    from asnn_goose import _native

    tokens, columns = levels_NK.shape
    values_NK = torch.empty(tokens, columns)
    _native.values(
        sizes=(tokens, columns),
        top=top,
        inputs=addresses(levels_NK, amplitude_N),
        out=values_NK.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return values_NK
