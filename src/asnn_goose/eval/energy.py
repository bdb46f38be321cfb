"""Arithmetic of one token of a packed student, and the energy that arithmetic would take.

Energies per operation are those of 45 nm silicon at 0.9 V: M. Horowitz, "Computing's energy problem
(and what we can do about it)", ISSCC 2014. They leave out memory, control and everything else that
a processor spends: a bound for special hardware and a common measure, not what a CPU's plug sees.
What reading the weights would take is told apart, from the same table: the store decides about it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.shape.slots import EMBEDDING, MatrixSlot, SiteSlot
from asnn_goose.shape.student import layout, products, recurrence, state

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

PICOJOULES: dict[str, float] = {
    "int8_add": 0.03,
    "int32_add": 0.1,
    "int8_mult": 0.2,
    "fp16_add": 0.4,
    "fp16_mult": 1.1,
    "fp32_add": 0.9,
    "fp32_mult": 3.7,
    # Not in that table: a 16-bit number times an 8-bit one, taken as two 8-bit products.
    "int8x16_mult": 0.4,
}

TRAFFIC: dict[str, float] = {"32 kB cache": 20 / 8, "1 MB cache": 100 / 8, "DRAM": 1300 / 8}
"""Picojoules for a byte out of each, of 64-bit accesses; DRAM at its least."""

PRODUCTS: dict[str, tuple[str, str]] = {
    "float32": ("fp32_add", "fp32_mult"),
    "float16": ("fp32_add", "fp32_mult"),
    "int8": ("int32_add", "int8x16_mult"),
    "uint8": ("int32_add", "int8_mult"),
}
"""What a dense product does, by the type of its weights: fp16 is widened, int8 meets int16, and
what has groups of columns (as four bits, two to a byte, always have) meets int8."""

FLOATS = ("fp32_add", "fp32_mult")

FP32_BYTES = 4

BUTTERFLIES = 6
"""Stages of a rotation of 64 numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Operations per token of one part of a model, by kind (keys of PICOJOULES).

    bytes  of weights, scales and state that it reads, and of state that it writes
    """

    part: str
    operations: Mapping[str, float]
    bytes: float = 0.0

    @property
    def additions(self) -> float:
        """All additions, subtractions and comparisons."""
        return sum(n for kind, n in self.operations.items() if kind.endswith("_add"))

    @property
    def multiplications(self) -> float:
        """All multiplications."""
        return sum(n for kind, n in self.operations.items() if kind.endswith("_mult"))

    @property
    def picojoules(self) -> float:
        """Their energy."""
        return sum(n * PICOJOULES[kind] for kind, n in self.operations.items())


def work_per_token(model: PackedModel, densities: Mapping[str, float]) -> list[Work]:
    """Operations of the parts encoder, mixer, low-rank, mlp, head and recurrence.

    densities  name of a spiking matrix -> share of its input that fires, as the engine counted

    A spike costs one integer addition per weight that is not zero. Norms, gates and activations,
    a few operations per channel, are left out, and so is the drawing of the token.
    """
    parts: dict[str, Counter[str]] = {}
    traffic: dict[str, float] = defaultdict(float)
    for part, operations, read in _operations(model, densities):
        parts.setdefault(part, Counter()).update(operations)
        traffic[part] += read
    return [
        Work(part=part, operations=dict(found), bytes=traffic[part])
        for part, found in parts.items()
    ]


def traffic_picojoules(works: Iterable[Work]) -> dict[str, float]:
    """Energy per token of all bytes, were they all in one kind of store."""
    read = sum(work.bytes for work in works)
    return {store: read * each for store, each in TRAFFIC.items()}


def dense_picojoules(config: Mapping[str, Any], *, form: str) -> float:
    """Energy per token of the same shapes with every matrix dense; form is "fp32" or "fp16".

    The large matrices and the head alone. A dense transformer of these shapes does more, as its
    attention grows with the context, and a dense student has low-rank factors besides.
    """
    by_part = products(config)
    # Low-rank factors are the student's own: a transformer of these shapes has none.
    large = sum(by_part[part] for part in ("mixer", "mlp", "head"))
    return large * (PICOJOULES[f"{form}_add"] + PICOJOULES[f"{form}_mult"])


def _operations(
    model: PackedModel, densities: Mapping[str, float]
) -> Iterator[tuple[str, dict[str, float], float]]:
    """(part, operations, bytes) of everything that is done for a token."""
    for slot in layout(model.config):
        # A site that stays analogue costs nothing here.
        if isinstance(slot, SiteSlot) and slot.name in model.matrices:
            yield "encoder", _encoder(slot.columns, model.matrices[slot.name]), 0.0
        if isinstance(slot, MatrixSlot) and slot.name != EMBEDDING:
            coding = model.matrices.get(slot.name, {})
            yield "encoder", _encoder(slot.columns, coding), 0.0
            spikes = coding.get("steps", 0) * densities.get(slot.name, 0.0) if coding else None
            yield slot.part, _product(model, slot, spikes), weight_bytes(model, slot, spikes)
    additions, multiplications = recurrence(model.config)
    done = {"fp32_add": float(additions), "fp32_mult": float(multiplications)}
    numbers = sum(math.prod(part.shape) for part in state(model.config))
    layers = int(model.config["num_hidden_layers"])
    yield "recurrence", done, 2.0 * FP32_BYTES * layers * numbers


def weight_bytes(model: PackedModel, slot: MatrixSlot, spikes: float | None) -> float:
    """Bytes of a matrix that a token reads; of planes under spikes the columns that fire.

    spikes  per input over all steps, so that a column that fires twice is read twice
    """
    tensors, name = model.tensors, slot.name
    words = tensors.get(f"{name}.planes")
    held = words if words is not None else tensors.get(f"{name}.weight")
    if held is None:
        held, name = tensors[f"{EMBEDDING}.weight"], EMBEDDING  # the head where they are tied
    beside = (tensors.get(f"{name}.{end}") for end in ("scale", "groups"))
    scales = sum(array.nbytes for array in beside if array is not None)
    fired = spikes if spikes and words is not None else 1.0
    return float(held.nbytes * fired + scales)


def _product(model: PackedModel, slot: MatrixSlot, spikes: float | None) -> dict[str, float]:
    """A matrix; `spikes` per input over all steps, None or 0 where the input is analogue."""
    tensors = model.tensors
    words = tensors.get(f"{slot.name}.planes")
    if words is None:
        name = slot.name if f"{slot.name}.weight" in tensors else EMBEDDING
        groups = tensors.get(f"{name}.groups")
        kind = tensors[f"{name}.weight"].dtype.name if groups is None else "uint8"
        found = dict.fromkeys(PRODUCTS[kind], float(slot.rows * slot.columns))
        # A group's integer is scaled and added up.
        return found | ({} if groups is None else dict.fromkeys(FLOATS, float(groups.size)))
    weights, scales = nonzero(words), tensors[f"{slot.name}.scale"].size
    scaling = {"fp32_mult": float(scales + slot.rows)}
    if spikes:
        # Integer additions of weights -1 and +1; scales come once a row, after them.
        return {"int32_add": weights * spikes, "fp32_add": float(scales)} | scaling
    return {"fp32_add": float(weights + scales)} | scaling


def nonzero(words: NDArray[np.uint64]) -> int:
    """Weights that are not zero, over all planes (P,U,K,2)."""
    # The second word of a pair says which weights are not zero, the first only their sign.
    return int(np.bitwise_count(words[..., 1]).sum(dtype=np.int64))


def _encoder(columns: int, coding: Mapping[str, Any]) -> dict[str, float]:
    """Rotation and thresholds of one input, as if no two matrices shared it."""
    found: Counter[str] = Counter()
    if coding.get("rotate"):
        found.update({"fp32_add": BUTTERFLIES * columns, "fp32_mult": columns})
    if steps := coding.get("steps", 0):  # the mean magnitude, then a comparison a step
        # One step compares alone; more steps divide by the amplitude first.
        scaled = columns if steps > 1 else 0
        found.update({"fp32_add": (1 + steps) * columns, "fp32_mult": scaled})
    return {kind: float(n) for kind, n in found.items()}
