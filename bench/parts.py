"""Where a token's time goes, and how near each part is to what this core can do.

    python bench/parts.py [--planes 1] [--steps 1] [--density 0.3] [--rounds 7]

A random student of SmolLM2-135M's shapes. A part's time is what a step gets shorter when that part
is shrunk to nearly nothing: the vocabulary, the low-rank factors, the MLP, or all layers but one.
The ternary products are measured by themselves too, one after the other over distinct matrices.

Its floor is the longer of two times: reading its bytes at the speed at which this core reads a
buffer as large as the model, and adding its spikes at the speed of vector logic in registers
(bench/ceiling.py). For ternary matrices only the columns that fire are read. Share is floor over
time. Parts overlap in the memory system, so the times are estimates.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.ceiling import Ceiling, measure
from bench.peers.peer import NotRunError

from asnn_goose.eval import speed
from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.format.packed import PackedModel
from asnn_goose.infer.backend import native_module
from asnn_goose.infer.engine import Engine
from asnn_goose.shape.student import parts as part_of_matrix

RANKS = {f"{name}_rank": 1 for name in ("decay", "rate", "value", "gate")}
SHRUNK: dict[str, dict[str, int]] = {
    "whole": {},
    "head": {"vocab_size": 64},
    "low-rank": RANKS,
    "mlp": {"intermediate_size": 64},
    "layers": {"num_hidden_layers": 1},
}
TOKENS = 24
ROW_BYTES = 2 / 8
"""Two bits a weight and plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Seconds per token, and what the part must read and add at least."""

    name: str
    seconds: float
    bytes_read: float
    added: float = 0.0

    def floor(self, ceiling: Ceiling, *, reading: float) -> float:
        """Seconds that the machine needs at least."""
        return max(self.bytes_read / reading, self.added / ceiling.weight_bits)


class Chain:
    """All ternary matrices of a model by themselves, each with an input of its own."""

    def __init__(self, model: PackedModel) -> None:
        self.runs: list[Callable[[], None]] = []
        self.kept: list[object] = []
        for name, coding in model.matrices.items():
            words, scale = (model.tensors[f"{name}.{end}"] for end in ("planes", "scale"))
            planes, groups, rows = scale.shape
            matrix = native_module().TernaryMatrix(
                words.ctypes.data, planes, rows, words.shape[2], groups, scale.ctypes.data
            )
            random = np.random.default_rng(len(self.runs))
            x_K = random.standard_normal(int(words.shape[2]), np.float32)
            y_M = np.empty(rows, np.float32)
            threshold = float(model.tensors[f"{name}.threshold"][0])
            given = (coding["steps"], coding["code"], threshold, coding["rotate"])
            self.runs.append(_call(matrix.multiply, x_K.ctypes.data, y_M.ctypes.data, *given))
            self.kept += [matrix, x_K, y_M, words, scale]

    def seconds(self) -> float:
        """Time of all of them once."""
        started = time.perf_counter()
        for run in self.runs:
            run()
        return time.perf_counter() - started


def _call(multiply: Callable[..., None], x: int, y: int, *given: object) -> Callable[[], None]:
    return lambda: multiply(x, y, 1, *given)


def step_seconds(engine: Engine) -> float:
    """Median time of a step without the drawing."""
    state, tokens = engine.start(), speed.random_tokens(TOKENS, vocabulary=engine.vocab_size)
    times = []
    for token in tokens.tolist():
        started = time.perf_counter()
        engine.step([state], [token])
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def tensor_bytes(model: PackedModel, part: str) -> float:
    """Bytes of the matrices of a part; of the head those of the embedding that it shares."""
    if part == "head":
        return float(model.tensors["embedding.weight"].nbytes)
    of = part_of_matrix(model.config)
    return float(
        sum(
            array.nbytes
            for name, array in model.tensors.items()
            if name.startswith("blocks.")
            and name.endswith((".weight", ".planes"))
            and of.get(name.rpartition(".")[0]) == part
        )
    )


def weights_added(model: PackedModel, part: str, density: float) -> float:
    """Weights of a part that spikes of this density meet, over planes and steps."""
    total, of = 0.0, part_of_matrix(model.config)
    for name, coding in model.matrices.items():
        if part in {of[name], "ternary"}:
            planes, _, rows = model.tensors[f"{name}.scale"].shape
            columns = model.tensors[f"{name}.planes"].shape[2]
            total += planes * rows * columns * coding["steps"] * density
    return total


def parts(options: argparse.Namespace) -> tuple[list[Part], PackedModel]:
    """Times of all parts, the variants in turns."""
    wanted = Random(planes=options.planes, steps=options.steps, density=options.density)
    models = {name: random_model(SHAPES["135m"] | less, wanted) for name, less in SHRUNK.items()}
    engines = {name: Engine(model, threads=1) for name, model in models.items()}
    whole, chain = models["whole"], Chain(models["whole"])
    times: dict[str, list[float]] = {name: [] for name in [*engines, "ternary"]}
    for _ in range(options.rounds):
        for name, engine in engines.items():
            times[name].append(step_seconds(engine))
        times["ternary"].append(chain.seconds())
    median = {name: statistics.median(taken) for name, taken in times.items()}
    found = [
        part(whole, name, median["whole"] - median[name], options.density)
        for name in ("head", "low-rank", "mlp")
    ]
    found.append(part(whole, "ternary", median["ternary"], options.density))
    together = sum(one.bytes_read for one in found if one.name != "mlp")
    added = weights_added(whole, "ternary", options.density)
    return [
        *found,
        Part(name="whole step", seconds=median["whole"], bytes_read=together, added=added),
    ], whole


def part(model: PackedModel, name: str, seconds: float, density: float) -> Part:
    """A part with its time; ternary matrices are read where a spike meets them."""
    added = weights_added(model, name, density)
    read = added * ROW_BYTES if added else tensor_bytes(model, name)
    return Part(name=name, seconds=seconds, bytes_read=read, added=added)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--density", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    try:
        ceiling = measure()
    except NotRunError as reason:
        print(f"not run: {reason}")
        return
    found, model = parts(options)
    size = sum(array.nbytes for array in model.tensors.values())
    reading = ceiling.reading(size)
    print(f"reading {size / 1e6:.0f} MB: {reading / 1e9:.1f} GB/s; logic in registers:", end=" ")
    print(f"{ceiling.weight_bits / 1e9:.0f} G weights/s ({ceiling.vector_bytes}-byte vectors)")
    print(f"{'part':<12}{'ms':>8}{'MB read':>9}{'M added':>9}{'floor ms':>10}{'share':>8}")
    for one in found:
        floor = one.floor(ceiling, reading=reading)
        numbers = f"{1e3 * one.seconds:8.3f}{one.bytes_read / 1e6:9.1f}{one.added / 1e6:9.1f}"
        print(f"{one.name:<12}{numbers}{1e3 * floor:10.3f}{floor / one.seconds:8.0%}")


if __name__ == "__main__":
    main()
