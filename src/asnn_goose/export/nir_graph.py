"""What of a student NIR can say: matrices, LIF neurons and fixed thresholds, place by place.

NIR (Pedersen et al. 2024, Nature Communications 15:8122) is a graph of continuous-time nodes that
simulators and chips read. A token is a time step of DT seconds, so that a LIF neuron here,
v += (h - v) / tau, is NIR's with tau * DT seconds, resistance 1 and leak 0, by Euler's method.
Sums are edges that meet. What NIR has no node for is listed, with the reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from asnn_goose import disk
from asnn_goose.model.neurons.lif import LIF
from asnn_goose.model.parts.projection import Projection
from asnn_goose.ops.hadamard import hadamard

if TYPE_CHECKING:
    from torch import nn

INDEX = "index.json"

DT = 1e-4
"""Seconds of a time step: what simulators that read NIR take unless told otherwise."""

BEYOND = {
    "mixer": "a recurrence with a matrix for a state, its gates and its low-rank factors",
    "mlp": "activations and products of two channels",
    "norms": "a mean over channels",
    "embedding, head": "looking up a row; the head's own matrix is the embedding's",
}
"""What no block has a node for, and why."""

F32 = NDArray[np.float32]


class NIRError(ValueError):
    """Nothing of a student can be written as NIR; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NIRExport:
    """Names of the places that were written, and of the others, with the reason."""

    written: tuple[str, ...]
    left_out: dict[str, str]


@torch.no_grad()
def write_nir(student: nn.Module, folder: Path) -> NIRExport:
    """A folder with PLACE.nir for every matrix that can be said, and index.json with the rest.

    The folder appears whole, in place of an older one. Raises NIRError where nothing can be said,
    TakenError where something else lies there.
    """
    import nir

    graphs, left_out = dict[str, Any](), dict[str, str]()
    for name, matrix in student.named_modules():
        if not isinstance(matrix, Projection):
            continue
        if reason := inexpressible(matrix):
            left_out[name] = reason
        else:
            graphs[name] = graph_of(matrix)
    if not graphs:
        raise NIRError(f"no place can be said in NIR: {next(iter(left_out.values()), 'no matrix')}")
    with disk.replaced_folder(folder, kind="NIR export", marks=INDEX, holds=("*.nir",)) as fresh:
        for name, graph in graphs.items():
            nir.write(fresh / f"{name}.nir", graph)
        index = {"seconds_per_token": DT, "written": [*graphs], "left_out": left_out | BEYOND}
        (fresh / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return NIRExport(written=tuple(graphs), left_out=left_out)


def inexpressible(matrix: Projection) -> str:
    """Why NIR cannot say a matrix with what is before it; empty where it can."""
    neuron = matrix.neuron
    if matrix.sub_norm is not None:
        return "its input is normalised: a mean over channels"
    if neuron is None:
        return ""
    if isinstance(neuron, LIF):
        if neuron.along != "tokens":
            return "a LIF neuron along the inner steps of a token"
        return "a LIF neuron with negative spikes" if neuron.cell.signed else ""
    if neuron.training_only:
        return neuron.training_only
    constants = neuron.packed()
    if "amplitude" not in constants:
        return "a threshold relative to each token's mean magnitude: a mean over channels"
    if neuron.steps > 1:
        return f"{neuron.steps} steps of spikes, which count differently, for one input"
    return ""


def graph_of(matrix: Projection) -> Any:
    """Input -> (rotation) -> (neuron) -> matrix -> Output."""
    import nir

    columns, rows = matrix.in_features, matrix.out_features
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([columns])})}
    edges, last = list[tuple[str, str]](), "input"
    weight, neuron = _weight(matrix), matrix.neuron
    if matrix.precision.rotate:
        rotation = hadamard(torch.eye(columns)).numpy()
        if neuron is None:
            weight = weight @ rotation
        else:
            nodes["rotation"], last = nir.Linear(rotation), "rotation"
            edges.append(("input", "rotation"))
    nodes["output"] = nir.Output({"output": np.array([rows])})
    if neuron is None or isinstance(neuron, LIF):
        if neuron is not None:
            nodes["neuron"] = _lif(neuron, columns)
            edges.append((last, "neuron"))
            last = "neuron"
        nodes["matrix"] = _affine(weight, matrix)
        edges += [(last, "matrix"), ("matrix", "output")]
    else:
        _two_signs(nodes, edges, last, weight, matrix)
    return nir.NIRGraph(nodes, edges, metadata={})


def _weight(matrix: Projection) -> F32:
    weight = matrix.weight if matrix.ternary is None else matrix.ternary(matrix.weight)
    return np.asarray(weight.float().numpy())


def _affine(weight: F32, matrix: Projection) -> Any:
    import nir

    bias = matrix.whole_bias()
    return nir.Linear(weight) if bias is None else nir.Affine(weight, bias.float().numpy())


def _lif(neuron: LIF, columns: int) -> Any:
    import nir

    def each(value: float) -> F32:
        return np.full(columns, value, np.float32)

    return nir.LIF(
        tau=each(neuron.tau * DT),
        r=each(1.0),
        v_leak=each(0.0),
        v_threshold=each(float(neuron.cell.threshold)),
        v_reset=each(0.0),
    )


def _two_signs(
    nodes: dict[str, Any], edges: list[tuple[str, str]], last: str, weight: F32, matrix: Projection
) -> None:
    """Spikes of -1, 0 and 1 at fixed thresholds: two thresholds, whose matrices' outputs add up."""
    import nir

    assert matrix.neuron is not None
    constants = matrix.neuron.packed()
    amplitude = constants["amplitude"]
    edge = np.full(weight.shape[1], constants.get("fires", amplitude / 2), np.float32)
    nodes["negative"] = nir.Scale(np.full(weight.shape[1], -1.0, np.float32))
    nodes["above"], nodes["below"] = nir.Threshold(edge), nir.Threshold(edge)
    nodes["matrix"] = _affine(weight * np.float32(amplitude), matrix)
    nodes["minus"] = nir.Linear(-weight * np.float32(amplitude))
    edges += [(last, "above"), ("above", "matrix"), ("matrix", "output")]
    edges += [(last, "negative"), ("negative", "below"), ("below", "minus"), ("minus", "output")]
