"""Matrices as one or two planes of {-1, 0, 1}, with a scale per row or per group of columns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Ternary(NamedTuple):
    """A matrix [O, K] as planes: codes (P,O,K) in {-1,0,1} and scales (P,G,O).

    Group g covers columns g K/G up to (g+1) K/G; both tensors have the matrix's dtype.
    """

    codes_POK: Tensor
    scale_PGO: Tensor

    def dense(self) -> Tensor:
        """The matrix (O,K) that the planes stand for, added up plane by plane."""
        planes, rows, columns = self.codes_POK.shape
        codes_POGC = self.codes_POK.view(planes, rows, self.scale_PGO.shape[1], -1)
        scale_POG1 = self.scale_PGO.transpose(1, 2).unsqueeze(-1)
        total_OGC = codes_POGC[0] * scale_POG1[0]
        for codes_OGC, scale_OG1 in zip(codes_POGC[1:], scale_POG1[1:], strict=True):
            total_OGC.addcmul_(codes_OGC, scale_OG1)
        return total_OGC.view(rows, columns)


@torch.no_grad()
def absmean(weight_OK: Tensor, *, planes: int = 1, group: int = 0) -> Ternary:
    """Round a matrix to `planes` ternary planes; `group` columns share a scale, 0: a whole row.

    One plane: T = clip(round(W / gamma), -1, 1) with gamma = mean |W| (BitNet b1.58,
    arXiv 2402.17764), and as scale the mean |W| where T != 0, which is the least-squares one for
    those codes. The second plane does the same with what the first leaves over, and then both
    scales are fitted together. A row of zeros has zero codes and scales. No gradient is kept.

    Raises ValueError where `planes` is not 1 or 2, or `group` does not divide the columns.
    """
    rows, columns = weight_OK.shape
    if planes not in (1, 2):
        raise ValueError(f"planes = {planes}: must be 1 or 2")
    if group < 0 or columns % (group or columns):
        raise ValueError(f"group = {group}: must divide the {columns} columns")
    weight_OGC = weight_OK.reshape(rows, columns // (group or columns), -1)
    codes_POGC = weight_OK.new_empty(planes, *weight_OGC.shape)
    first = _one_plane(weight_OGC, out=codes_POGC[0])
    scales = [first.scale_OG]
    if planes == 2:
        rest_OGC = torch.addcmul(weight_OGC, codes_POGC[0], first.scale_OG.unsqueeze(-1), value=-1)
        second = _one_plane(rest_OGC, out=codes_POGC[1])
        scales = _joint_fit(weight_OGC, first, second)
    scale_PGO = torch.stack(scales).transpose(1, 2).contiguous()
    return Ternary(codes_POGC.view(planes, rows, columns), scale_PGO)


class _Plane(NamedTuple):
    """Codes, their scale, how many are not zero, and their inner product with what they code."""

    codes_OGC: Tensor
    scale_OG: Tensor
    count_OG: Tensor
    product_OG: Tensor


def _one_plane(weight_OGC: Tensor, *, out: Tensor) -> _Plane:
    size_OGC = weight_OGC.abs()
    # |W| / gamma rounds to 1 or more where it is above a half; a half itself goes to zero.
    kept_OGC = (size_OGC > 0.5 * size_OGC.mean(-1, keepdim=True)).to(size_OGC.dtype)
    count_OG, product_OG = kept_OGC.sum(-1), (size_OGC * kept_OGC).sum(-1)
    torch.copysign(kept_OGC, weight_OGC, out=out)
    return _Plane(out, product_OG / count_OG.clamp_min(1), count_OG, product_OG)


def _joint_fit(weight_OGC: Tensor, a: _Plane, b: _Plane) -> list[Tensor]:
    """Scales s, t (O,G) that minimise |W - s a - t b|^2 in every row and group.

    Where both planes are the same up to sign the fit is not unique, and they stay as they are.
    """
    # In float64, for determinants cancel.
    aa, bb, wa = a.count_OG.double(), b.count_OG.double(), a.product_OG.double()
    ab, wb = ((x * b.codes_OGC).sum(-1).double() for x in (a.codes_OGC, weight_OGC))
    determinant = aa * bb - ab * ab
    unique = determinant > 0
    divisor = determinant.masked_fill(~unique, 1)
    s = ((bb * wa - ab * wb) / divisor).to(weight_OGC.dtype).where(unique, a.scale_OG)
    t = ((aa * wb - ab * wa) / divisor).to(weight_OGC.dtype).where(unique, b.scale_OG)
    return [s, t]
