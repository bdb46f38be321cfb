"""A LIF student's matrices, written as NIR, in a simulator that reads NIR: the same outputs.

    pip install --no-deps snntorch==1.0.0 nirtorch==2.6
    python bench/peers/nir_simulator.py

snnTorch reads every file of the export and runs it step by step; the student's own matrix in
PyTorch runs beside it. Prints the largest difference of each kind of place, and fails above 1e-4.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from asnn_goose.export.nir_graph import write_nir
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.parts.projection import Projection

TOKENS, NEAR = 32, 1e-4
NEURON = {"neuron": {"name": "lif", "tau": 2.0}, "steps": 1, "threshold": 0.2, "planes": 1}
SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_size": 16,
    "mlp": "gated",
    "precision": {"*": NEURON},
}


def student() -> GooseForCausalLM:
    """Two small blocks, every matrix behind a LIF neuron."""
    torch.manual_seed(0)
    model = GooseForCausalLM(GooseConfig(**SIZES))
    model.train(False)
    return model


def simulated(file: Path, x_TK: torch.Tensor) -> torch.Tensor:
    """Outputs (T, O) of snnTorch on one file, a step at a time."""
    nir: Any = importlib.import_module("nir")
    reader: Any = importlib.import_module("snntorch.import_nir")
    network = reader.import_from_nir(nir.read(file))
    state, out = None, []
    for x_K in x_TK:
        y, state = network(x_K[None], state)
        out.append(y[0])
    return torch.stack(out)


@torch.no_grad()
def main() -> int:
    """Compare every place of a student."""
    model, worst = student(), dict[str, float]()
    draw = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as scratch:
        for name in write_nir(model, Path(scratch) / "nir").written:
            matrix = model.get_submodule(name)
            assert isinstance(matrix, Projection)
            x_TK = torch.randn(TOKENS, matrix.in_features, generator=draw)
            found = simulated(Path(scratch) / "nir" / f"{name}.nir", x_TK)
            apart = float((found - matrix(x_TK[None])[0]).abs().max())
            kind = name.split(".", 2)[2]
            worst[kind] = max(worst.get(kind, 0.0), apart)
    for kind, apart in worst.items():
        print(f"{kind:20} largest difference {apart:.2e}")
    return int(max(worst.values()) > NEAR)


if __name__ == "__main__":
    sys.exit(main())
