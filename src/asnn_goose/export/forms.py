"""One matrix in the forms that a packed file knows, as arrays by the end of their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asnn_goose.format.planes import pack_planes
from asnn_goose.model.goose.precision import Precision
from asnn_goose.model.ternary import AbsMean

Arrays = dict[str, NDArray[Any]]

DENSE = ("f16", "int8", "f32")


class ExportError(ValueError):
    """A student cannot be packed as asked; the message says what would work."""


def floats(tensor: Tensor, *, name: str) -> NDArray[np.float32]:
    """A tensor as fp32. Raises ExportError where a number is not finite."""
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    if not bool(values.isfinite().all()):
        raise ExportError(f"{name} holds numbers that are not finite: training has diverged")
    array: NDArray[np.float32] = values.numpy()
    return array


def dense(weight_MK: Tensor, form: str, *, name: str) -> Arrays:
    """`weight`, and for int8 a `scale` per row. Raises ExportError where fp16 is too narrow."""
    weight = floats(weight_MK, name=name)
    if form == "int8":
        codes, scale = int8_rows(weight)
        return {"weight": codes, "scale": scale}
    if form == "f32":
        return {"weight": weight}
    largest = np.abs(weight).max()
    if largest > np.finfo(np.float16).max:
        raise ExportError(f"{name} reaches {largest:g}, beyond fp16: take int8 or f32")
    return {"weight": weight.astype(np.float16)}


def int8_rows(weight_MK: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes -127 .. 127 (M,K) and scale (M,): max |row| / 127, or 0 for a row of zeros."""
    scale = np.abs(weight_MK).max(axis=1) / np.float32(127)
    divisor = np.where(scale > 0, scale, np.float32(1))
    codes = np.rint(weight_MK / divisor[:, None]).clip(-127, 127)
    return codes.astype(np.int8), scale


def ternary(weight_MK: Tensor, precision: Precision, *, name: str) -> Arrays:
    """`planes` and `scale` (P,G,M), as the student itself rounds the matrix."""
    method = AbsMean(planes=precision.planes, group=precision.group)
    planes = method.planes_of(torch.from_numpy(floats(weight_MK, name=name)))
    words = pack_planes(planes.codes_POK.to(torch.int8).numpy())
    return {"planes": words, "scale": planes.scale_PGO.numpy()}


def projection(
    weight_MK: Tensor, bias_M: Tensor | None, precision: Precision, form: str, *, name: str
) -> Arrays:
    """Everything that belongs to a matrix: weights, bias, and the threshold of its spikes."""
    if precision.planes:
        arrays = ternary(weight_MK, precision, name=name)
    else:
        arrays = dense(weight_MK, form, name=name)
    if bias_M is not None:
        arrays["bias"] = floats(bias_M, name=f"{name}.bias")
    if precision.steps:
        arrays["threshold"] = np.array([precision.threshold], np.float32)
    return arrays
