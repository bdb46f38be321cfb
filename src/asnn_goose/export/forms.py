"""One matrix in the forms that a packed file knows, as arrays by the end of their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asnn_goose.export.absorb import why_not
from asnn_goose.export.grouped import grouped
from asnn_goose.format.planes import pack_planes
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.ternary import Ternary

Arrays = dict[str, NDArray[Any]]

DENSE = ("f16", "int8", "int4", "f32")
"""Forms of the block matrices; the two of whole numbers are in groups of 64 columns."""

LOW_RANK = ("f16", "int8", "int4", "f32")
"""Forms of low-rank factors: int8 has a scale for each row."""


class ExportError(ValueError):
    """A student cannot be packed as asked; the message says what would work."""


def floats(tensor: Tensor, *, name: str) -> NDArray[np.float32]:
    """A tensor as fp32. Raises ExportError where a number is not finite."""
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    if not bool(values.isfinite().all()):
        raise ExportError(f"{name} holds numbers that are not finite: training has diverged")
    array: NDArray[np.float32] = values.numpy()
    return array


def dense(weight_MK: Tensor, form: str, *, name: str, groups: bool = False) -> Arrays:
    """`weight`, for whole numbers a `scale` per row, and `groups` (`format.groups`).

    groups  int8 has them too
    Raises ExportError where fp16 is too narrow, and for an odd number of columns in four bits.
    """
    weight = floats(weight_MK, name=name)
    if form == "int4" and weight.shape[1] % 2:
        raise ExportError(f"{name} has {weight.shape[1]} columns: four bits want an even number")
    if form == "int4" or (form == "int8" and groups):
        return grouped(weight, bits=int(form.removeprefix("int")))._asdict()
    if form == "int8":
        codes, scale = int8_rows(weight)
        return {"weight": codes, "scale": scale}
    if form == "f32":
        return {"weight": weight}
    # Checked before the cast, which would give infinities and say nothing.
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


def planes(matrix: Ternary, *, name: str) -> Arrays:
    """`planes` and `scale` (P,G,M) of a matrix that was rounded already.

    Two planes of one sign each, such as those of TTQ, become one whose signs have a scale each.
    """
    matrix = _sided(matrix)
    words = pack_planes(matrix.codes_POK.to("cpu", torch.int8).contiguous().numpy())
    return {"planes": words, "scale": floats(matrix.scale_PGO, name=f"{name}.scale")}


def _sided(matrix: Ternary) -> Ternary:
    """Codes 0, 1 and codes -1, 0 in one plane: half the bytes, and the same numbers to the bit."""
    codes_POK, scale_PGO = matrix
    if len(codes_POK) != 2 or bool((codes_POK[0] < 0).any()) or bool((codes_POK[1] > 0).any()):
        return matrix
    if bool((codes_POK[0] * codes_POK[1]).any()):
        return matrix
    same = torch.equal(scale_PGO[0], scale_PGO[1])
    return Ternary(codes_POK.sum(0, keepdim=True), scale_PGO[:1] if same else scale_PGO)


def spikes(neuron: Neuron, *, name: str) -> dict[str, float]:
    """`threshold`, or `amplitude` and, for one step, `fires`; `factor` where weights must fold it.

    Raises ExportError for a neuron that the engine cannot run, with the reason.
    """
    kind = type(neuron).__name__
    if neuron.training_only:
        raise ExportError(
            f"{name}: spikes of {kind} are for training only: {neuron.training_only};"
            " PyTorch runs them"
        )
    found = dict(neuron.packed())
    fixed = {"amplitude", "fires"} if neuron.steps == 1 else {"amplitude"}
    if set(found) - {"factor"} not in ({"threshold"}, fixed):
        raise ExportError(
            f"{name}: {kind} gives {', '.join(sorted(found)) or 'nothing'}: the engine needs"
            f" threshold, or {' and '.join(sorted(fixed))}"
        )
    return found


def one(numbers: Mapping[str, float]) -> Arrays:
    """Each number as an array of one."""
    return {end: np.array([value], np.float32) for end, value in numbers.items()}


def projection(module: Projection, form: str, *, name: str, absorb: bool = False) -> Arrays:
    """Everything that belongs to a matrix: weights, bias, and what its spikes stand for.

    Ternary weights are those that the student itself multiplies by, and the bias holds what its
    method adds; a factor of the neuron folds into the weights, and so does, with `absorb`, an
    amplitude that can (`export.absorb`). Raises ExportError for what cannot be packed.
    """
    if module.sub_norm is not None:
        raise ExportError(
            f"{name}: sub_norm is for training only: the engine knows no norm there; run this "
            "student in PyTorch"
        )
    numbers = {} if module.neuron is None else spikes(module.neuron, name=name)
    # A learned value of the spikes multiplies the product, and so fits into the scales: the engine
    # needs to know nothing of it.
    factor = numbers.pop("factor", 1.0)
    if absorb and numbers and not why_not(module):
        factor, numbers["amplitude"] = factor * numbers["amplitude"], 1.0
    if module.ternary is None:
        arrays = dense(module.weight * factor, form, name=name, groups=True)
    else:
        floats(module.weight, name=name)  # refuses what is not finite
        rounded = module.ternary.planes_of(module.weight)
        # Codes of the method itself, not rounded anew: what was trained is what runs.
        arrays = planes(rounded._replace(scale_PGO=rounded.scale_PGO * factor), name=name)
    if (bias_M := module.whole_bias()) is not None:
        arrays["bias"] = floats(bias_M, name=f"{name}.bias")
    return arrays | one(numbers)
