"""A ternary start from calibration: the error of a column is made good by those after it."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from asnn_goose.ops.ternary import Ternary, absmean

# The bounds hang on the row's mean, which moves with the weights that are pushed over them.
_LATENT_ROUNDS = 8
_ROUNDS = 3
"""How often codes and scales are chosen in turn."""


@torch.no_grad()
def error_feedback(
    weight_OK: Tensor,
    covariance_KK: Tensor,
    *,
    planes: int,
    group: int,
    damping: float = 0.01,
    block: int = 64,
    refit: bool = True,
) -> tuple[Ternary, Tensor]:
    """Ternary planes whose outputs, not whose weights, are near: minimise tr (W-Q) C (W-Q)^T.

    With C = E[x x^T] (K,K) of the inputs x, the columns are rounded one after the other to the
    nearest value that the scales can make, and what is lost goes to later columns through the
    inverse Cholesky factor of C + damping mean(diag C) I (GPTQ, arXiv 2210.17323). Scales are
    those of `absmean` at first; with `refit` they are then fitted to the codes by least squares
    under the same matrix, three times in turn. Every row keeps the best that it has been, the
    plain `absmean` included. `block` columns are done before their errors reach the rest; it
    changes the speed and nothing else.

    Works in float64; returns the planes, and the matrix that they make, in W's dtype. Raises
    ValueError for a covariance of another shape or one that damping does not make positive.
    """
    _check(weight_OK, covariance_KK, damping=damping, block=block)
    # In float64: the feedback divides by diagonal entries of an inverse factor, and errors of fp32
    # would be carried on through all later columns.
    wide_OK = weight_OK.double()
    damped_KK = covariance_KK.double().clone()
    # Inputs that never vary, and fewer tokens than columns, make C singular; a hundredth of the
    # mean variance changes no column that matters.
    damped_KK.diagonal().add_(damping * damped_KK.diagonal().mean())
    feedback_KK = _inverse_factor(damped_KK, damping)
    best = absmean(wide_OK, planes=planes, group=group)
    scale_PGO, least_O = best.scale_PGO, _error(wide_OK, best, damped_KK)
    # Codes want scales and scales want codes. Fitting cannot make a row worse, but rounding, which
    # is greedy, can: hence the best that a row has been is kept.
    for _ in range(_ROUNDS if refit else 1):
        found = Ternary(_round_columns(wide_OK, scale_PGO, feedback_KK, block), scale_PGO)
        if refit:
            found = _refitted(wide_OK, found, damped_KK)
        scale_PGO, error_O = found.scale_PGO, _error(wide_OK, found, damped_KK)
        # By row: rows share the covariance alone, so each may keep another round's result.
        best = _rows_where(error_O < least_O, found, best)
        least_O = torch.minimum(error_O, least_O)
    ternary = Ternary(*(x.to(weight_OK.dtype) for x in best))
    return ternary, ternary.dense()


def _check(weight_OK: Tensor, covariance_KK: Tensor, *, damping: float, block: int) -> None:
    if weight_OK.ndim != 2:
        raise ValueError(f"weight of shape {tuple(weight_OK.shape)}: must be a matrix")
    columns = weight_OK.shape[1]
    if covariance_KK.shape != (columns, columns):
        raise ValueError(
            f"covariance of shape {tuple(covariance_KK.shape)}: must be ({columns}, {columns}) "
            f"for weights with {columns} columns"
        )
    if not 0 <= damping < float("inf"):
        raise ValueError(f"damping = {damping}: must be 0 or more")
    if block < 1:
        raise ValueError(f"block = {block}: must be 1 or more")


def _inverse_factor(damped_KK: Tensor, damping: float) -> Tensor:
    """Upper U with U^T U the inverse of a matrix, by a Cholesky factor from its far corner."""
    # Flipped, for the factor whose row k says what column k owes to the columns after it is wanted;
    # a Cholesky factor of the inverse would need the inverse, which costs digits.
    flipped_KK, failed = torch.linalg.cholesky_ex(damped_KK.flip(0, 1))
    upper_KK = flipped_KK.flip(0, 1)
    if int(failed) or not bool(upper_KK.diagonal().isfinite().all()):
        raise ValueError(
            f"covariance: with damping = {damping} it is not positive definite; "
            "take more calibration tokens or more damping"
        )
    identity_KK = torch.eye(len(upper_KK)).to(upper_KK)
    factor_KK: Tensor = torch.linalg.solve_triangular(upper_KK, identity_KK, upper=True)
    return factor_KK


def _round_columns(weight_OK: Tensor, scale_PGO: Tensor, feedback_KK: Tensor, block: int) -> Tensor:
    """Codes (P,O,K), column after column, each from what the earlier ones left of W."""
    planes, groups, rows = scale_PGO.shape
    columns = weight_OK.shape[1]
    levels_LP = _levels(planes).to(weight_OK)
    values_GLO = torch.einsum("lp,pgo->glo", levels_LP, scale_PGO)
    # Columns lie in rows here: the inner loop reads and writes one column at a time.
    left_KO = weight_OK.T.contiguous()
    chosen_KO = torch.empty(columns, rows, dtype=torch.long, device=weight_OK.device)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        lost_KO = weight_OK.new_empty(stop - start, rows)
        for k in range(start, stop):
            values_LO = values_GLO[k * groups // columns]
            chosen_KO[k] = (values_LO - left_KO[k]).abs().argmin(0)
            # Divided by the factor's diagonal, an error has the units in which the factor's row
            # spreads it.
            rounded_O = values_LO.gather(0, chosen_KO[k : k + 1])[0]
            lost_KO[k - start] = (left_KO[k] - rounded_O) / feedback_KK[k, k]
            # Within the block at once, since the next column needs it; the rest gets one product a
            # block, which is where nearly all arithmetic is.
            left_KO[k + 1 : stop].addr_(feedback_KK[k, k + 1 : stop], lost_KO[k - start], alpha=-1)
        left_KO[stop:].addmm_(feedback_KK[start:stop, stop:].T, lost_KO, alpha=-1)
    return levels_LP[chosen_KO].permute(2, 1, 0).contiguous()


def _levels(planes: int) -> Tensor:
    """All codes (L,P) of one weight; zero comes first, for the first of equally near ones wins."""
    return torch.tensor(list(product((0.0, 1.0, -1.0), repeat=planes)))


def _refitted(weight_OK: Tensor, ternary: Ternary, damped_KK: Tensor) -> Ternary:
    """The same codes with the scales, all of a row together, that leave the least error.

    A negative scale is turned into a positive one with its codes.
    """
    planes, groups, rows = ternary.scale_PGO.shape
    normal_OMM, right_OM = _normal_equations(weight_OK, ternary.codes_POK, damped_KK, groups)
    # Planes without a code, or twice the same plane, have no scale of their own.
    scale_OM = torch.linalg.pinv(normal_OMM, rtol=1e-10, hermitian=True) @ right_OM.unsqueeze(-1)
    scale_PGO = scale_OM.view(rows, planes, groups).permute(1, 2, 0).contiguous()
    sign_POG1 = torch.where(scale_PGO < 0, -1.0, 1.0).transpose(1, 2).unsqueeze(-1).to(weight_OK)
    # So that scales are magnitudes, as those of `absmean` are.
    codes_POGC = ternary.codes_POK.view(planes, rows, groups, -1) * sign_POG1
    return Ternary(codes_POGC.view(ternary.codes_POK.shape), scale_PGO.abs())


def _normal_equations(
    weight_OK: Tensor, codes_POK: Tensor, damped_KK: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    """T C T^T (O,M,M) and W C T^T (O,M) of every row, T (M,K) its M = P G scaled parts."""
    planes, rows, columns = codes_POK.shape
    # Codes of group g touch only rows g of C, so T C is made a part at a time and T (O,M,K) is
    # never held.
    parts_GKK = damped_KK.view(groups, -1, columns)
    codes_POGC = codes_POK.view(planes, rows, groups, -1)

    def against_codes(x_OK: Tensor) -> Tensor:
        """Products with every part, (O,M)."""
        return (x_OK.view(rows, groups, -1) * codes_POGC).sum(-1).transpose(0, 1).flatten(1)

    normal_MOM = [
        against_codes(codes_POGC[plane, :, index] @ parts_GKK[index])
        for plane in range(planes)
        for index in range(groups)
    ]
    return torch.stack(normal_MOM, dim=1), against_codes(weight_OK @ damped_KK)


def _error(weight_OK: Tensor, ternary: Ternary, damped_KK: Tensor) -> Tensor:
    """(w - q) C (w - q)^T of every row, (O,)."""
    rest_OK = weight_OK - ternary.dense()
    return ((rest_OK @ damped_KK) * rest_OK).sum(-1)


def _rows_where(mask_O: Tensor, one: Ternary, other: Ternary) -> Ternary:
    """Rows of `one` where the mask is true, else those of `other`."""
    codes_POK = torch.where(mask_O.unsqueeze(-1), one.codes_POK, other.codes_POK)
    return Ternary(codes_POK, torch.where(mask_O, one.scale_PGO, other.scale_PGO))


@torch.no_grad()
def latent(weight_OK: Tensor, ternary: Ternary) -> Tensor:
    """Dense weights (O,K) that `absmean` rounds to one given plane, as near to W as that allows.

    Where a code is zero |w| ends below 0.45 of the row's mean, elsewhere w has the code's sign and
    at least 0.55; then the row is scaled, which changes no code, until its scale is the given one.
    Raises ValueError for more planes than one, or scales of groups.
    """
    if ternary.scale_PGO.shape[:2] != (1, 1):
        raise ValueError("latent weights are known for one plane with a scale per row")
    codes_OK, scale_O1 = ternary.codes_POK[0].to(weight_OK), ternary.scale_PGO[0, 0, :, None]
    fires_OK = codes_OK != 0
    latent_OK = weight_OK.clone()
    for _ in range(_LATENT_ROUNDS):
        mean_O1 = latent_OK.abs().mean(-1, keepdim=True)
        bound_OK = mean_O1.expand_as(latent_OK)
        # 0.45 and 0.55 stand clear of the half at which `absmean` rounds: later rounding of these
        # weights, in fp32 or bf16, must find the same codes.
        above_OK = codes_OK * (latent_OK * codes_OK).maximum(0.55 * bound_OK)
        below_OK = latent_OK.clamp(-0.45 * bound_OK, 0.45 * bound_OK)
        latent_OK = torch.where(fires_OK, above_OK, below_OK)
    count_O1 = fires_OK.sum(-1, keepdim=True)
    kept_O1 = (latent_OK.abs() * fires_OK).sum(-1, keepdim=True) / count_O1.clamp_min(1)
    # Only the weights that keep a code decide the scale (`absmean`), so the row is scaled by their
    # mean.
    factor_O1 = torch.where(count_O1 > 0, scale_O1 / kept_O1.clamp_min(1e-30), 0.0)
    return latent_OK * factor_O1.to(weight_OK)
