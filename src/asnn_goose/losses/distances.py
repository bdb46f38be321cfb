"""How far the student's rows of features are from the teacher's: f((n,D), (n,D)) -> scalar."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.names import check_name

TINY = 1e-8

ROUNDING = 1e-6
"""Share of a target's norm up to which fp32 gives the same sums in another order."""


def beyond_rounding(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """The student's rows, or the teacher's where nothing but rounding parts them: then all agree.

    A student's MLPs begin as the teacher's own, but our compiled passes round otherwise. Adam would
    make whole steps of a gradient that is nothing but that.
    """
    error = (student_nD - teacher_nD).detach().norm()
    return torch.where(error <= ROUNDING * teacher_nD.norm(), teacher_nD, student_nD)


def relative(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Squared error over the target's squared norm: every layer weighs the same."""
    return (student_nD - teacher_nD).square().sum() / teacher_nD.square().sum().clamp_min(TINY)


def token_relative(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean over rows of the squared error over the row's own squared norm.

    A few tokens of a language model, the first one above all, are a hundred times as long as the
    rest and decide every sum over tokens; here each counts as one. 0 where there are no rows.
    """
    error_n = (student_nD - teacher_nD).square().sum(-1)
    size_n = teacher_nD.square().sum(-1).clamp_min(TINY)
    return (error_n / size_n).sum() / max(len(student_nD), 1)


def l2(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean over rows of the Euclidean distance / sqrt(D) (ARWKV, arXiv 2501.15570)."""
    # Clamped before the root, whose slope at 0 is infinite: a row that fits exactly would give NaN.
    length_n = (student_nD - teacher_nD).square().sum(-1).clamp_min(TINY**2).sqrt()
    return length_n.sum() / (max(len(student_nD), 1) * math.sqrt(student_nD.shape[-1]))


def mse(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean squared error; 0 where there are no rows."""
    return (student_nD - teacher_nD).square().sum() / max(student_nD.numel(), 1)


def huber(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean Huber loss in units of each target row's own rms: squares up to 1, straight beyond.

    Neither a few large channels nor the long first token decides. 0 where there are no rows.
    """
    unit_n1 = teacher_nD.square().mean(-1, keepdim=True).sqrt().clamp_min(TINY)
    found_nD = F.huber_loss(student_nD / unit_n1, teacher_nD / unit_n1, reduction="none")
    return found_nD.sum() / max(student_nD.numel(), 1)


def cosine(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean over rows of 1 - cos; 0 where there are no rows."""
    unit_s, unit_t = _unit(student_nD), _unit(teacher_nD)
    # |a - b|^2 / 2 of unit vectors is 1 - cos, without its loss of digits near 0.
    return (unit_s - unit_t).square().sum() / (2 * max(len(student_nD), 1))


def normalised(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean squared error of rows scaled to length 1 (Patient KD, arXiv 1908.09355)."""
    return mse(_unit(student_nD), _unit(teacher_nD))


def layer_norm(student_nD: Tensor, teacher_nD: Tensor) -> Tensor:
    """Mean squared error of rows brought to mean 0 and variance 1."""
    width = student_nD.shape[-1:]
    return mse(F.layer_norm(student_nD, width), F.layer_norm(teacher_nD, width))


def _unit(x_nD: Tensor) -> Tensor:
    return F.normalize(x_nD, dim=-1, eps=TINY)


DISTANCES: MappingProxyType[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "relative": relative,
        "token_relative": token_relative,
        "l2": l2,
        "mse": mse,
        "huber": huber,
        "cosine": cosine,
        "normalised": normalised,
        "layer_norm": layer_norm,
    }
)


def check_distance(distance: str) -> str:
    """The name itself. Raises ValueError for one that is no row of DISTANCES."""
    check_name(DISTANCES, distance, setting="distance")
    return distance
