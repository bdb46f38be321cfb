"""Synaptic operations by place, as NeuroBench counts them (Yik et al. 2025, arXiv 2304.04640).

An operation is effective where both the weight and the input are not zero. With inputs of -1, 0 and
1 it is an accumulate (AC), otherwise a multiply-accumulate (MAC). Steps of spikes are its time
steps, planes of weights are layers beside each other; dense counts them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asnn_goose.eval.energy import weight_bytes
from asnn_goose.shape.slots import EMBEDDING, MatrixSlot
from asnn_goose.shape.student import layout

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceWork:
    """One matrix, per token: synaptic operations, and bytes of weights that it reads."""

    name: str
    part: str
    dense: float
    accumulates: float
    multiply_accumulates: float
    bytes: float


def effective(model: PackedModel, spikes: Mapping[str, I64], *, tokens: int) -> Iterator[PlaceWork]:
    """Every matrix of a packed student.

    spikes  name of a spiking matrix -> spikes of each column (K,), all steps of all tokens

    A matrix with a dense input is taken to have no zero in it. Raises ValueError for a spiking
    matrix whose spikes are not there.
    """
    for slot in layout(model.config):
        if isinstance(slot, MatrixSlot) and slot.name != EMBEDDING:
            yield _work(model, slot, spikes, tokens)


def _work(
    model: PackedModel, slot: MatrixSlot, spikes: Mapping[str, I64], tokens: int
) -> PlaceWork:
    steps = int(model.matrices.get(slot.name, {}).get("steps", 0))
    words = model.tensors.get(f"{slot.name}.planes")
    weights_K = columns_nonzero(model, slot, words)
    planes = 1 if words is None else len(words)
    dense = float(slot.rows * slot.columns * planes * max(1, steps))
    if steps and slot.name not in spikes:
        raise ValueError(f"no spikes of {slot.name}: count those of every spiking matrix")
    fired_K = spikes[slot.name] / tokens if steps else None
    return PlaceWork(
        name=slot.name,
        part=slot.part,
        dense=dense,
        accumulates=0.0 if fired_K is None else float(fired_K @ weights_K),
        multiply_accumulates=float(weights_K.sum()) if fired_K is None else 0.0,
        bytes=weight_bytes(model, slot, None if fired_K is None else float(fired_K.mean())),
    )


def columns_nonzero(model: PackedModel, slot: MatrixSlot, words: NDArray[np.uint64] | None) -> I64:
    """Weights of each column that are not zero (K,), all planes together."""
    if words is not None:  # (P, U, K, 2): the second word says which of 64 rows are not zero
        bits = np.bitwise_count(np.ascontiguousarray(words[..., 1]))
        return np.asarray(bits.sum((0, 1), dtype=np.int64))
    weight = model.tensors.get(f"{slot.name}.weight", model.tensors.get(f"{EMBEDDING}.weight"))
    assert weight is not None
    return np.asarray(np.count_nonzero(weight, axis=0), np.int64)
