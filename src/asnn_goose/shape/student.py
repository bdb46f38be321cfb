"""A whole student: its slots from the embedding to the head, and what it costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from asnn_goose.shape.half import Settings
from asnn_goose.shape.mixers import MIXERS
from asnn_goose.shape.mlps import MLPS
from asnn_goose.shape.settings import halves, settings_of
from asnn_goose.shape.slots import (
    EMBEDDING,
    HEAD,
    POSITIONS,
    MatrixSlot,
    Part,
    SiteSlot,
    Slot,
    StateSlot,
    VectorSlot,
)


def layout(settings: Settings) -> Iterator[Slot]:
    """Every part of a student with these (checked) settings, from the embedding to the head."""
    width, vocabulary = settings["hidden_size"], settings["vocab_size"]
    yield MatrixSlot(name=EMBEDDING, rows=vocabulary, columns=width, part="embedding")
    if rows := settings.get("n_positions", 0):
        yield MatrixSlot(name=POSITIONS, rows=rows, columns=width, part="embedding")
    if settings["embedding_norm"]:
        yield from _norm("embedding_norm", settings)
    for layer in range(settings["num_hidden_layers"]):
        yield from block(settings, layer)
    yield from _norm("final_norm", settings)
    yield MatrixSlot(
        name=HEAD,
        rows=vocabulary,
        columns=width,
        part="head",
        precision="head",
        optional=settings["tie_word_embeddings"],
    )


def block(settings: Settings, layer: int) -> Iterator[Slot]:
    """Every part of one block."""
    place = f"blocks.{layer}"
    where = settings.get("norm_place", "before")  # older files do not say it
    for name, half in zip(("mixer", "mlp"), halves(settings), strict=True):
        if where != "after":
            yield from _norm(f"{place}.{name}_norm", settings)
        for slot in half.slots(settings, layer):
            yield replace(slot, name=f"{place}.{name}.{slot.name}")
        if where != "before":
            yield from _norm(f"{place}.{name}_after", settings)


def _norm(name: str, settings: Settings) -> Iterator[Slot]:
    if settings["norm"] == "none":
        return
    yield VectorSlot(name=f"{name}.weight", shape=(settings["hidden_size"],))
    if settings["norm"] == "layer":
        yield VectorSlot(name=f"{name}.bias", shape=(settings["hidden_size"],))


def matrices(settings: Settings, layer: int) -> Iterator[MatrixSlot]:
    """The large matrices of one block, those that may be ternary, in the order of their use."""
    for slot in block(settings, layer):
        if isinstance(slot, MatrixSlot) and slot.projection:
            yield slot


def parts(settings: Settings) -> dict[str, Part]:
    """The part of the model that each matrix belongs to, by its name."""
    return {slot.name: slot.part for slot in layout(settings) if isinstance(slot, MatrixSlot)}


def state(settings: Settings) -> Iterator[StateSlot]:
    """What a sequence carries in each block, `mixer.` and `mlp.` before the names."""
    for name, half in zip(("mixer", "mlp"), halves(settings), strict=True):
        for part in half.state(settings):
            yield replace(part, name=f"{name}.{part.name}")


def parameters(settings: Settings) -> dict[str, int]:
    """Parameters by part of the model, vectors under "rest".

    What neurons, ternary methods and sub-norms learn is the precision's and not counted.
    """
    found: Counter[str] = Counter()
    for slot in layout(settings):
        if isinstance(slot, VectorSlot):
            found["rest"] += math.prod(slot.shape)
        elif isinstance(slot, MatrixSlot) and not slot.optional:
            found[slot.part] += slot.rows * slot.columns
            found["rest"] += slot.rows * slot.bias
    return dict(found)


def products(settings: Settings) -> dict[str, int]:
    """Multiply-adds per token by part of the model; embeddings are looked up, not multiplied."""
    found: Counter[str] = Counter()
    for slot in layout(settings):
        if isinstance(slot, MatrixSlot) and slot.part != "embedding":
            found[slot.part] += slot.rows * slot.columns
    return dict(found)


def recurrence(settings: Settings) -> tuple[int, int]:
    """Additions and multiplications per token beside the matrices, all blocks together."""
    each = [half.recurrence(settings) for half in halves(settings)]
    layers = int(settings["num_hidden_layers"])
    return layers * sum(a for a, _ in each), layers * sum(m for _, m in each)


def kept(settings: Settings) -> dict[str, int]:
    """Numbers per token that the backward pass of one mixer, and of one MLP, holds."""
    mixer, mlp = halves(settings)
    return {"mixer": mixer.kept(settings), "mlp": mlp.kept(settings)}


@cache
def names(kind: type[MatrixSlot] | type[SiteSlot]) -> tuple[str, ...]:
    """What `precision` may name over all mixers and MLPs: their large matrices, or their sites."""
    found: dict[str, None] = {}
    for kind_of, table in (("mixer", MIXERS), ("mlp", MLPS)):
        for word, half in table.items():
            settings = {name: s.default for name, s in settings_of({kind_of: word}).items()}
            for slot in half.slots(settings, 1):
                if isinstance(slot, kind) and slot.precision:
                    found[slot.precision] = None
    return tuple(found)
