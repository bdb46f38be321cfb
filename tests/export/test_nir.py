"""NIR: what is written says, read back and run by its own equations, what the student computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from asnn_goose.disk import TakenError
from asnn_goose.export.nir_graph import DT, NIRError, write_nir
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.parts.projection import Projection

TOKENS = 20


def student(precision: dict[str, Any], **changes: Any) -> GooseForCausalLM:
    torch.manual_seed(0)
    config = GooseConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        head_size=16,
        mlp="gated",
        precision=precision,
        **changes,
    )
    model = GooseForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def run(graph: nir.NIRGraph, x_TK: np.ndarray) -> np.ndarray:
    """A graph, node by node and step by step, as the NIR paper writes its equations."""
    voltages: dict[str, np.ndarray] = {}
    out = []
    for x_K in x_TK:
        values: dict[str, np.ndarray] = {"input": x_K}

        def value(name: str, values: dict[str, np.ndarray] = values) -> np.ndarray:
            if name not in values:
                arriving = sum(value(source) for source, to in graph.edges if to == name)
                values[name] = step(name, graph.nodes[name], arriving, voltages)
            return values[name]

        out.append(value("output"))
    return np.stack(out)


def step(name: str, node: Any, x: Any, voltages: dict[str, np.ndarray]) -> np.ndarray:
    if isinstance(node, nir.Affine):
        return np.asarray(node.weight @ x + node.bias)
    if isinstance(node, nir.Linear):
        return np.asarray(node.weight @ x)
    if isinstance(node, nir.Scale):
        return np.asarray(node.scale * x)
    if isinstance(node, nir.Threshold):
        return np.asarray(x > node.threshold, np.float32)
    if isinstance(node, nir.LIF):
        v = voltages.get(name, np.zeros_like(x))
        v = v + DT / node.tau * (node.v_leak - v + node.r * x)
        z = (v > node.v_threshold).astype(np.float32)
        voltages[name] = np.where(z > 0, node.v_reset, v)
        return z
    assert isinstance(node, nir.Output)
    return np.asarray(x)


@pytest.mark.parametrize(
    ("precision", "place"),
    [
        (
            {"down": {"neuron": {"name": "lif", "tau": 3.0}, "steps": 1, "threshold": 0.3}},
            "mlp.down",
        ),
        (
            {"down": {"neuron": {"name": "lif", "decay": "learned"}, "steps": 1, "threshold": 0.2}},
            "mlp.down",
        ),
        (
            {"down": {"neuron": "lif", "steps": 1, "threshold": 0.2, "planes": 1, "rotate": True}},
            "mlp.down",
        ),
        ({"key": {"planes": 2, "rotate": True}}, "mixer.key"),
        ({"up": {"neuron": "learned", "steps": 1, "threshold": 0.7, "planes": 1}}, "mlp.up"),
        ({}, "mixer.output"),
    ],
)
def test_what_is_read_back_computes_the_same(
    precision: dict[str, Any], place: str, tmp_path: Path
) -> None:
    model = student(precision, qkv_bias=True)
    with torch.no_grad():  # a learned threshold is measured on the first batch of training
        model.train()
        model.trace(torch.arange(40)[None], frozenset({"hidden"}))
        model.eval()
    found = write_nir(model, tmp_path / "nir")
    name = f"blocks.1.{place}"
    assert name in found.written
    matrix = model.get_submodule(name)
    assert isinstance(matrix, Projection)
    x = torch.randn(TOKENS, matrix.in_features)
    with torch.no_grad():
        wanted = matrix(x[None])[0].numpy()
    graph = nir.read(tmp_path / "nir" / f"{name}.nir")
    np.testing.assert_allclose(run(graph, x.numpy()), wanted, atol=2e-5)
    assert np.abs(wanted).max() > 0.1


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ({"neuron": {"name": "lif", "ternary": True}, "steps": 1}, "negative spikes"),
        ({"neuron": {"name": "lif", "along": "steps"}, "steps": 1}, "inner steps"),
        ({"steps": 1, "threshold": 0.7}, "mean magnitude"),
        ({"neuron": "learned", "steps": 2, "code": "rate"}, "2 steps"),
        ({"steps": 0, "sub_norm": True}, "normalised"),
    ],
)
def test_what_cannot_be_said_is_listed(
    precision: dict[str, Any], said: str, tmp_path: Path
) -> None:
    found = write_nir(student({"down": precision}), tmp_path / "nir")
    assert said in found.left_out["blocks.0.mlp.down"]
    assert "blocks.0.mlp.up" in found.written
    index = json.loads((tmp_path / "nir" / "index.json").read_text())
    assert said in index["left_out"]["blocks.0.mlp.down"]
    assert {"mixer", "norms"} <= set(index["left_out"])
    files = {file.stem for file in (tmp_path / "nir").glob("*.nir")}
    assert files == set(index["written"])


def test_a_student_of_which_nothing_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(NIRError, match="mean magnitude"):
        write_nir(student({"*": {"steps": 1}}), tmp_path / "nir")
    assert not (tmp_path / "nir").exists()


def test_an_older_export_is_replaced(tmp_path: Path) -> None:
    write_nir(student({}), tmp_path / "nir")
    (tmp_path / "nir" / "old.nir").write_text("x")
    write_nir(student({}), tmp_path / "nir")
    assert not (tmp_path / "nir" / "old.nir").exists()
    (tmp_path / "nir" / "index.json").unlink()
    with pytest.raises(TakenError, match="is no NIR export"):
        write_nir(student({}), tmp_path / "nir")
