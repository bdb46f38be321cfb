"""What a token of a served student takes, split into what is always there and what spikes add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asnn_goose.eval.energy import PICOJOULES, dense_picojoules, nonzero, work_per_token
from asnn_goose.infer.server.costs import Costs
from asnn_goose.shape.slots import MatrixSlot
from asnn_goose.shape.student import layout

if TYPE_CHECKING:
    from asnn_goose.format.packed import PackedModel

SPIKE = "int32_add"
"""What a spike costs for every weight that is not zero."""

FP16_BYTES = 2


def serving_costs(model: PackedModel, *, kv_heads: int | None = None) -> Costs:
    """The arithmetic of a token of this student.

    kv_heads  heads that share their keys and values in the transformer to compare with; the
              student's own number unless given
    """
    per_spike = additions_per_spike(model)
    all_fire = dict.fromkeys(model.matrices, 1.0)
    works = work_per_token(model, all_fire)
    # All fire in all steps: what these spikes add is taken off again.
    most = sum(
        per_spike[slot.name] * slot.columns * model.matrices[slot.name].get("steps", 0)
        for slot in layout(dict(model.config))
        if isinstance(slot, MatrixSlot) and slot.name in per_spike
    )
    return Costs(
        additions=sum(work.additions for work in works) - most,
        multiplications=sum(work.multiplications for work in works),
        picojoules=sum(work.picojoules for work in works) - most * PICOJOULES[SPIKE],
        per_spike=per_spike,
        addition_picojoules=PICOJOULES[SPIKE],
        dense_picojoules=dense_picojoules(model.config, form="fp16"),
        kv_bytes=kv_bytes(model.config, kv_heads),
    )


def additions_per_spike(model: PackedModel) -> dict[str, float]:
    """Name of a spiking matrix with ternary weights -> weights that are not zero, per column."""
    return {
        slot.name: nonzero(model.tensors[f"{slot.name}.planes"]) / slot.columns
        for slot in layout(dict(model.config))
        if isinstance(slot, MatrixSlot)
        and model.matrices.get(slot.name, {}).get("steps", 0)
        and f"{slot.name}.planes" in model.tensors
    }


def kv_bytes(config: dict[str, Any], heads: int | None) -> int:
    """Bytes that a token adds to a key-value cache in fp16."""
    heads = heads or config["num_attention_heads"]
    return 2 * FP16_BYTES * int(config["num_hidden_layers"] * heads * config["head_size"])
