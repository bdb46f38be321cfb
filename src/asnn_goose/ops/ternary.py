"""Matrices as one or two planes of {-1, 0, 1}, with a scale per row or per group of columns."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

SMALLEST_SCALE = 1e-6
"""Learned scales count as this much where they are below it."""


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
        # Plane by plane and in place: an einsum over P would make (P,O,K) floats first.
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
    if planes not in (1, 2):
        raise ValueError(f"planes = {planes}: must be 1 or 2")
    weight_OGC = _groups(weight_OK, group)
    # Planes are written into one tensor from the start; stacking them afterwards would copy every
    # weight again.
    codes_POGC = weight_OK.new_empty(planes, *weight_OGC.shape)
    first = _one_plane(weight_OGC, factor=0.5, out=codes_POGC[0])
    scales = [first.scale_OG]
    if planes == 2:
        # What is left over is ternary at a smaller scale again, so the second plane is one more of
        # the same.
        rest_OGC = torch.addcmul(weight_OGC, codes_POGC[0], first.scale_OG.unsqueeze(-1), value=-1)
        second = _one_plane(rest_OGC, factor=0.5, out=codes_POGC[1])
        scales = _joint_fit(weight_OGC, first, second)
    scale_PGO = torch.stack(scales).transpose(1, 2).contiguous()
    return Ternary(codes_POGC.view(planes, *weight_OK.shape), scale_PGO)


@torch.no_grad()
def twn(weight_OK: Tensor, *, factor: float = 0.7, group: int = 0) -> Ternary:
    """One plane: signs where |W| > factor mean |W|, and as scale the mean |W| of those.

    Statistics are those of a row, or of `group` columns of it (Ternary Weight Networks,
    arXiv 1605.04711). Raises ValueError where `group` does not divide the columns.
    """
    weight_OGC = _groups(weight_OK, group)
    codes_OGC = torch.empty_like(weight_OGC)
    plane = _one_plane(weight_OGC, factor=factor, out=codes_OGC)
    return Ternary(codes_OGC.view(1, *weight_OK.shape), plane.scale_OG.T.unsqueeze(0).contiguous())


@torch.no_grad()
def dead_zone(weight_OK: Tensor, *, group: int = 0) -> Tensor:
    """True (O,K) where `absmean` with one plane rounds to zero: |W| <= mean |W| / 2."""
    size_OGC = _groups(weight_OK, group).abs()
    return ~_kept(size_OGC, 0.5).view(weight_OK.shape)


def check_granularity(granularity: str) -> None:
    """Raise ValueError for anything but "row" and "tensor"."""
    if granularity not in ("row", "tensor"):
        raise ValueError(f"granularity = {granularity!r}: must be 'row' or 'tensor'")


def sharing(weight_OK: Tensor, granularity: str) -> Tensor:
    """Rows (R,N) of weights that share a scale: W itself ("row"), or all of it ("tensor", R = 1).

    Whatever has been computed per row, (R,1), fits W again by broadcasting.
    """
    check_granularity(granularity)
    return weight_OK if granularity == "row" else weight_OK.reshape(1, -1)


@torch.no_grad()
def zones(weight_OK: Tensor, threshold_R1: Tensor) -> Tensor:
    """Codes (O,K): 1 where W > threshold, -1 where W < -threshold, else 0."""
    return weight_OK.sign() * (weight_OK.abs() > threshold_R1)


@torch.no_grad()
def zone_means(weight_RN: Tensor, codes_RN: Tensor) -> tuple[Tensor, Tensor]:
    """Mean |W| (R,1) where the code is 1, and where it is -1.

    An empty side takes the mean of the other one; at least SMALLEST_SCALE.
    """
    size_RN = weight_RN.abs()
    both_R1 = _mean_where(size_RN, codes_RN != 0, weight_RN.new_zeros(()))
    means = (_mean_where(size_RN, codes_RN == side, both_R1) for side in (1, -1))
    positive_R1, negative_R1 = (mean.clamp_min(SMALLEST_SCALE) for mean in means)
    return positive_R1, negative_R1


def _mean_where(size_RN: Tensor, mask_RN: Tensor, otherwise: Tensor) -> Tensor:
    count_R1 = mask_RN.sum(-1, keepdim=True)
    mean_R1 = (size_RN * mask_RN).sum(-1, keepdim=True) / count_R1.clamp_min(1)
    return torch.where(count_R1 > 0, mean_R1, otherwise)


def learned_step(x: Tensor, step: Tensor, *, step_gradient: float = 1.0) -> Tensor:
    """Round to a step or none: s round(clip(x / s, -1, 1)), with s learned.

    LSQ (arXiv 1902.08153, eq. 1 to 3). `step` broadcasts to x. With v = x / s and g the gradient:
    x takes g inside [-1, 1] and 0 outside; s takes sum g (round(v) - v), outside sum g sign(v),
    times `step_gradient`. The step counts as SMALLEST_SCALE where it is below, and keeps its
    gradient there.
    """
    return cast(Tensor, _LearnedStep.apply(x, step, step_gradient))  # type: ignore[no-untyped-call]


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, step_gradient: float) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.step_gradient = step_gradient
        s = step.clamp_min(SMALLEST_SCALE)
        return (x / s).clamp_(-1, 1).round_().mul_(s)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (g,), (x, step) = gradients, ctx.saved_tensors
        v = x / step.clamp_min(SMALLEST_SCALE)
        clipped = v.clamp(-1, 1)
        inside = clipped == v
        # Of s round(x / s): round(v) - v inside, and outside, where v is clipped, the bound alone.
        slope = clipped.round() - v * inside
        dstep = (g * slope).sum_to_size(step.shape) * ctx.step_gradient
        return g * inside, dstep, None


@torch.no_grad()
def best_step(weight_RN: Tensor, *, candidates: int = 64) -> Tensor:
    """Step (R,1) of `learned_step` that leaves the least squared error of every row.

    Searched among `candidates` in geometric order from a quarter of the row's mean |W| up to
    its largest |W| (the start of LSQ+, arXiv 2004.09576).
    """
    size_RN = weight_RN.abs()
    low_R1 = (size_RN.mean(-1, keepdim=True) / 4).clamp_min(SMALLEST_SCALE)
    # A search: the error has more than one minimum in the step.
    ratio_R1 = size_RN.amax(-1, keepdim=True).clamp_min(SMALLEST_SCALE) / low_R1
    best_R1, least_R1 = low_R1, torch.full_like(low_R1, torch.inf)
    for index in range(candidates):
        step_R1 = low_R1 * ratio_R1 ** (index / (candidates - 1))
        error_R1 = (weight_RN - learned_step(weight_RN, step_R1)).square().sum(-1, keepdim=True)
        best_R1 = torch.where(error_R1 < least_R1, step_R1, best_R1)
        least_R1 = torch.minimum(error_R1, least_R1)
    return best_R1


@torch.no_grad()
def best_affine(x_RN: Tensor, *, top: int, candidates: int = 32) -> tuple[Tensor, Tensor]:
    """Step and offset (R,1) of `learned_step` that leave the least squared error of every row.

    The codes are -top .. top. A search on a grid (the start of LSQ+, arXiv 2004.09576): steps in
    geometric order from a sixteenth of what spans the row up to that, and for each the offsets
    that put the middle of the codes at equal distances from the least to the largest number.
    """
    low_R1, high_R1 = x_RN.amin(-1, keepdim=True), x_RN.amax(-1, keepdim=True)
    whole_R1 = ((high_R1 - low_R1) / (2 * top)).clamp_min(SMALLEST_SCALE)
    best_R1, middle_R1 = whole_R1, (low_R1 + high_R1) / 2
    least_R1 = torch.full_like(low_R1, torch.inf)
    for index in range(candidates):
        step_R1 = whole_R1 * 16 ** (index / (candidates - 1) - 1)
        for place in range(candidates // 2 + 1):
            offset_R1 = torch.lerp(low_R1, high_R1, place / (candidates // 2))
            found_RN = learned_step(x_RN, step_R1, low=-top, high=top, offset=offset_R1)
            error_R1 = (x_RN - found_RN).square().sum(-1, keepdim=True)
            better_R1 = error_R1 < least_R1
            best_R1 = step_R1.where(better_R1, best_R1)
            middle_R1 = offset_R1.where(better_R1, middle_R1)
            least_R1 = torch.minimum(error_R1, least_R1)
    return best_R1, middle_R1


class _Plane(NamedTuple):
    """Codes, their scale, how many are not zero, and their inner product with what they code."""

    codes_OGC: Tensor
    scale_OG: Tensor
    count_OG: Tensor
    product_OG: Tensor


def _groups(weight_OK: Tensor, group: int) -> Tensor:
    """(O,K) -> (O,G,C), with a C of `group`, or of a whole row where it is 0."""
    rows, columns = weight_OK.shape
    if group < 0 or columns % (group or columns):
        raise ValueError(f"group = {group}: must divide the {columns} columns")
    return weight_OK.reshape(rows, columns // (group or columns), -1)


def _kept(size_OGC: Tensor, factor: float) -> Tensor:
    """True where |W| > factor mean |W|.

    |W| / gamma rounds to 1 or more where it is above a half; a half itself goes to zero.
    """
    # In float64, so that whoever sums in whatever order finds the same codes.
    mean_OG1 = size_OGC.mean(-1, keepdim=True, dtype=torch.float64).to(size_OGC.dtype)
    return size_OGC > factor * mean_OG1


def _one_plane(weight_OGC: Tensor, *, factor: float, out: Tensor) -> _Plane:
    size_OGC = weight_OGC.abs()
    kept_OGC = _kept(size_OGC, factor).to(size_OGC.dtype)
    product_OG = (size_OGC * kept_OGC).sum(-1, dtype=torch.float64)
    count_OG = kept_OGC.sum(-1, dtype=torch.float64)
    torch.copysign(kept_OGC, weight_OGC, out=out)
    scale_OG = (product_OG / count_OG.clamp_min(1)).to(out.dtype)
    return _Plane(out, scale_OG, count_OG, product_OG)


def _joint_fit(weight_OGC: Tensor, a: _Plane, b: _Plane) -> list[Tensor]:
    """Scales s, t (O,G) that minimise |W - s a - t b|^2 in every row and group.

    Where both planes are the same up to sign the fit is not unique, and they stay as they are.
    """
    # In float64, for determinants cancel where the planes are nearly alike.
    aa, bb, wa = a.count_OG, b.count_OG, a.product_OG
    ab, wb = ((x * b.codes_OGC).sum(-1, dtype=aa.dtype) for x in (a.codes_OGC, weight_OGC))
    determinant = aa * bb - ab * ab
    unique = determinant > 0
    divisor = determinant.masked_fill(~unique, 1)
    s = ((bb * wa - ab * wb) / divisor).to(weight_OGC.dtype).where(unique, a.scale_OG)
    t = ((aa * wb - ab * wa) / divisor).to(weight_OGC.dtype).where(unique, b.scale_OG)
    return [s, t]
