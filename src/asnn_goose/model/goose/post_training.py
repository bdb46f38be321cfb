"""What post-training learns of a block: channels balanced, rows of ternary weights clipped.

SpikeLLM (arXiv 2407.04752) is trained as OmniQuant is (arXiv 2308.13137): learnable equivalent
transformations (LET), which move the size of channels into the columns that read them and leave a
dense block as it was, and learnable weight clipping (LWC). The weights themselves do not train.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from asnn_goose.model.goose.block import BlockOutput, GooseBlock
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.hadamard import rotated

FIRST_CLIP = 4.0
"""Logit of the share of a row's range that its weights keep, as OmniQuant starts it: 0.982."""


class BlockFit(nn.Module):
    """Of one block: log s (K,) of every place to balance, and a logit (O,1) per ternary matrix.

    Raises ValueError for a block whose parts would not follow: norms of single matrices, and
    ternary methods with numbers of their own.
    """

    def __init__(self, block: GooseBlock) -> None:
        super().__init__()
        for name, matrix in block.named_modules():
            if isinstance(matrix, Projection):
                _check(name, matrix)
        widths = (place.readers[0].in_features for place in block.balance_places())
        self.log_s = nn.ParameterList(torch.zeros(width) for width in widths)
        self.clip = nn.ParameterList(
            torch.full((matrix.out_features, 1), FIRST_CLIP) for _, matrix in _ternary(block)
        )


class FittedBlock:
    """A block as its fit changes it, differentiable in the fit."""

    def __init__(self, block: GooseBlock, fit: BlockFit) -> None:
        self.block, self.fit = block, fit

    def __call__(self, *inputs: Any) -> BlockOutput:
        """As the block is called."""
        return cast(BlockOutput, functional_call(self.block, self.tensors(), inputs))

    def tensors(self) -> dict[str, Tensor]:
        """Parameters of the block that become others, by name."""
        names = {id(parameter): name for name, parameter in self.block.named_parameters()}
        found: dict[str, Tensor] = {}

        def times(parameter: Tensor, s: Tensor) -> None:
            name = names[id(parameter)]
            found[name] = found.get(name, parameter) * s

        for place, log_s_K in zip(self.block.balance_places(), self.fit.log_s, strict=True):
            s_K = log_s_K.exp()
            for gain in place.gains:
                times(gain, 1 / (s_K if gain.dim() == 1 else s_K.unsqueeze(1)))
            for adapter in place.adapters:
                times(adapter.down, s_K.unsqueeze(1))
            for reader in place.readers:
                name = names[id(reader.weight)]
                plain_OK = _turned(reader, found.get(name, reader.weight)) * s_K
                found[name] = _turned(reader, plain_OK)
        for (_, matrix), clip_O1 in zip(_ternary(self.block), self.fit.clip, strict=True):
            name = names[id(matrix.weight)]
            found[name] = _clipped(found.get(name, matrix.weight), clip_O1)
        return found

    @torch.no_grad()
    def fold(self) -> None:
        """Make the block what the fit makes of it."""
        for name, tensor in self.tensors().items():
            self.block.get_parameter(name).copy_(tensor)


def _ternary(block: GooseBlock) -> Iterator[tuple[str, Projection]]:
    for name, module in block.named_modules():
        if isinstance(module, Projection) and module.ternary is not None:
            yield name, module


def _turned(matrix: Projection, weight_OK: Tensor) -> Tensor:
    """From the basis of a matrix to that of its input, and back."""
    return rotated(weight_OK) if matrix.precision.rotate else weight_OK


def _clipped(weight_OK: Tensor, logit_O1: Tensor) -> Tensor:
    """Weights of a row cut off at a share of their largest magnitude."""
    most_O1 = weight_OK.detach().abs().amax(-1, keepdim=True) * logit_O1.sigmoid()
    return torch.maximum(torch.minimum(weight_OK, most_O1), -most_O1)


def _check(name: str, matrix: Projection) -> None:
    if matrix.sub_norm is not None:
        raise ValueError(
            f"calibrate_blocks: {name} has sub_norm, which would divide a balance out again"
        )
    if matrix.ternary is not None and list(matrix.ternary.parameters()):
        raise ValueError(
            f"calibrate_blocks: {type(matrix.ternary).__name__} of {name} has learned scales, "
            "which would not follow; take absmean, twn, tequila or arenas"
        )
