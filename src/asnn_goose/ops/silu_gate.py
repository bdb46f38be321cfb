"""The gate of Llama's MLP, silu(gate) * up, in one pass where a compiled kernel can."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.ops.fused import fits
from asnn_goose.ops.kernel_calls import addresses, like


def silu_gate(gate_BF: Tensor, up_BF: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020, arXiv 2002.05202); keeps nothing but both for backward."""
    if fits(gate_BF) and fits(up_BF) and gate_BF.shape == up_BF.shape:
        return cast(Tensor, _SiluGate.apply(gate_BF, up_BF))  # type: ignore[no-untyped-call]
    return F.silu(gate_BF) * up_BF


class _SiluGate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        from asnn_goose import _native

        gate_BF, up_BF = (x.contiguous() for x in inputs)
        y_BF = torch.empty_like(gate_BF)
        ctx.save_for_backward(gate_BF, up_BF)
        _native.gated(
            count=gate_BF.numel(),
            inputs=addresses(gate_BF, up_BF),
            y=y_BF.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return y_BF

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        from asnn_goose import _native

        inputs, dy_BF = ctx.saved_tensors, gradients[0].contiguous()
        found = like(*inputs)
        _native.gated_back(
            count=dy_BF.numel(),
            inputs=addresses(*inputs, dy_BF),
            outputs=addresses(*found),
            threads=torch.get_num_threads(),
        )
        return found
