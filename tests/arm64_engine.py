"""Compares the compiled engine with the numpy oracle where it runs; see tests/arm64.sh.

Dense and ternary matrices, analogue and spiking inputs, on every instruction set of the module.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from asnn_goose import _native
from asnn_goose.format.packed import read_packed, write_packed
from asnn_goose.format.planes import pack_planes
from asnn_goose.infer.engine import Engine
from asnn_goose.shape.settings import MODEL_TYPE, settings_of
from asnn_goose.shape.slots import HEAD, MatrixSlot, VectorSlot
from asnn_goose.shape.student import layout

SHAPE = {"vocab_size": 97, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
SHAPE |= {"head_size": 64, "intermediate_size": 192}
PARTS = {"mixer": "rwkv7", "mlp": "gated", "norm": "rms", "embedding_norm": False}


def main() -> None:
    print(os.uname().machine, "instruction sets:", ", ".join(_native.isas()))
    for steps in (None, 0, 1, 3):
        with tempfile.TemporaryDirectory() as folder:
            write_student(Path(folder), steps=steps)
            model = read_packed(Path(folder))
            ours, oracle = (
                Engine(model, threads=1, backend=kind) for kind in ("native", "reference")
            )
            ids = list(range(5, 45))
            got, want = (engine.prefill(engine.start(), ids) for engine in (ours, oracle))
            assert not steps or all(fired for fired, _ in ours.counts().values())
            error = float(np.abs(got - want).max() / np.abs(want).max())
            kind = "dense" if steps is None else f"ternary, {steps} steps"
            print(f"{kind}: largest difference {error:.1e} of the largest logit")
            assert error < (2e-3 if steps is None else 2e-2), error
    print("arm64 engine agrees with the oracle")


def write_student(folder: Path, *, steps: int | None) -> None:
    """A packed student with random weights: dense for None, else one plane and so many steps."""
    random = np.random.default_rng(0)
    ranks = {f"{name}_rank": 32 for name in ("decay", "rate", "value", "gate")}
    config = {name: one.default for name, one in settings_of(PARTS).items()}
    config |= SHAPE | ranks | PARTS | {"model_type": MODEL_TYPE}
    tensors, matrices = {}, {}
    for slot in layout(config):
        if isinstance(slot, VectorSlot):
            tensors[slot.name] = random.normal(0.5, 0.2, slot.shape).astype(np.float32)
        elif isinstance(slot, MatrixSlot) and (slot.name != HEAD or not slot.optional):
            shape = (slot.rows, slot.columns)
            if steps is None or not slot.projection:
                weight = random.normal(0, slot.columns**-0.5, shape)
                tensors[f"{slot.name}.weight"] = weight.astype(np.float16)
                continue
            codes = random.integers(-1, 2, (1, *shape), dtype=np.int8)
            tensors[f"{slot.name}.planes"] = pack_planes(codes)
            scale = np.full((1, 1, slot.rows), slot.columns**-0.5, np.float32)
            tensors[f"{slot.name}.scale"] = scale
            if steps:
                tensors[f"{slot.name}.threshold"] = np.full(
                    1, 0.7 if steps == 1 else 4.0, np.float32
                )
                matrices[slot.name] = {"steps": steps, "code": "radix3", "rotate": True}
    write_packed(folder, config, tensors, matrices)


if __name__ == "__main__":
    main()
