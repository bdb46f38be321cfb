"""Our synaptic operations beside those of NeuroBench's own library, on layers that both can run.

    pip install --no-deps neurobench==2.3.0
    python bench/peers/neurobench_check.py

NeuroBench hooks linear layers: every plane of a ternary matrix becomes one, every step of spikes
one call. It prints both counts, and fails where they differ.
"""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from asnn_goose.eval.effective import effective
from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.format.planes import unpack_planes
from asnn_goose.ops.spike_codes import digits, levels
from asnn_goose.shape.slots import MatrixSlot
from asnn_goose.shape.student import layout

TOKENS = 16


def theirs(planes: np.ndarray, spikes_TKS: torch.Tensor) -> tuple[float, float]:
    """(effective accumulates, dense operations) a token, by NeuroBench's metric."""
    metric: Any = importlib.import_module(
        "neurobench.metrics.workload.synaptic_operations"
    ).SynapticOperations()
    for codes in planes:
        layer = torch.nn.Linear(codes.shape[1], codes.shape[0], bias=False)
        layer.weight.data = torch.from_numpy(codes.astype(np.float32))
        inputs = [(spikes_TKS[..., step],) for step in range(spikes_TKS.shape[-1])]
        nothing = SimpleNamespace(remove=lambda: None)
        hook = SimpleNamespace(inputs=inputs, layer=layer, hook=nothing, register_hook=lambda: None)
        metric(SimpleNamespace(connection_hooks=[hook]), None, [torch.zeros(0)])
    return metric.AC / len(spikes_TKS), metric.total_synops / len(spikes_TKS)


def main() -> int:
    """Compare every spiking matrix of a small random student."""
    model = random_model(SHAPES["tiny"], Random(planes=2, steps=3))
    draw = np.random.default_rng(0)
    top, unlike = levels("radix3", 3), 0
    spiking = [
        s for s in layout(model.config) if isinstance(s, MatrixSlot) and s.name in model.matrices
    ]
    codes = {slot.name: draw.integers(-top, top + 1, (TOKENS, slot.columns)) for slot in spiking}
    spikes = {
        name: digits(torch.from_numpy(q).float(), steps=3, code="radix3")
        for name, q in codes.items()
    }
    counts = {name: found.ne(0).sum((0, 2)).numpy() for name, found in spikes.items()}
    ours = {place.name: place for place in effective(model, counts, tokens=TOKENS)}
    for slot in spiking:
        planes = unpack_planes(model.tensors[f"{slot.name}.planes"], rows=slot.rows)
        accumulates, dense = theirs(planes, spikes[slot.name])
        place = ours[slot.name]
        same = (place.accumulates, place.dense) == (accumulates, dense)
        unlike += not same
        print(
            f"{slot.name:24} ours {place.accumulates:12,.1f} of {place.dense:10,.0f}"
            f"   NeuroBench {accumulates:12,.1f} of {dense:10,.0f}   {'same' if same else 'UNLIKE'}"
        )
    return 1 if unlike else 0


if __name__ == "__main__":
    sys.exit(main())
