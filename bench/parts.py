"""Where a token's time goes, and how near each part is to what this core can do.

    python bench/parts.py [PACKED] [--planes 1] [--steps 1] [--density 0.3] [--rounds 7]

PACKED is a packed student (`asnn-goose export --to packed`), or else a random one of
SmolLM2-135M's shapes; of a packed one the density is what it fires. A part's time is what a token
gets shorter when that part is shrunk to nearly nothing: the vocabulary (and with it what drawing
takes), the low-rank factors, the MLP, or all layers but one. Words are drawn as `generate` does.
The ternary products are measured by themselves too, one after the other over distinct matrices.

Its floor is the longer of two times: reading its bytes at the speed at which this core reads a
buffer as large as the model, and adding its spikes at the speed of vector logic in registers
(bench/ceiling.py). Of ternary matrices the columns that fire are read, once for all steps; of an
int8 head four bits a weight. Share is floor over time. Parts overlap in the memory system, so the
times are estimates; they are the thread's own, so that others may compute beside it.
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
from bench.shrunk import PARTS, RANKS, shrunk

from asnn_goose.eval import speed
from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.format.packed import PackedModel, read_packed
from asnn_goose.infer.backend import native_module
from asnn_goose.infer.engine import Engine
from asnn_goose.shape.student import parts as part_of_matrix

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
            if f"{name}.planes" not in model.tensors:
                continue
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
        started = time.thread_time()
        for run in self.runs:
            run()
        return time.thread_time() - started


def _call(multiply: Callable[..., None], x: int, y: int, *given: object) -> Callable[[], None]:
    return lambda: multiply(x, y, 1, *given)


def token_seconds(engine: Engine) -> float:
    """Median time from one token to the next."""
    tokens, times = speed.drawing(engine), []
    next(tokens)
    for _ in range(TOKENS):
        started = time.thread_time()
        next(tokens)
        times.append(time.thread_time() - started)
    return statistics.median(times)


def tensor_bytes(model: PackedModel, part: str) -> float:
    """Bytes that a part reads at most; `ternary` is all that has planes."""
    if part == "head":
        words = model.tensors["embedding.weight"]
        return words.nbytes / 2 if words.dtype == np.int8 else float(words.nbytes)
    of, total = part_of_matrix(model.config), 0.0
    for name, array in model.tensors.items():
        place, _, end = name.rpartition(".")
        if name.startswith("blocks.") and end in {"weight", "planes"}:
            total += array.nbytes * (part in {of.get(place), "ternary" if end == "planes" else ""})
    return total


def weights_added(model: PackedModel, part: str, density: float) -> float:
    """Weights of a part that spikes of this density meet, over planes and steps."""
    total, of = 0.0, part_of_matrix(model.config)
    for name, coding in model.matrices.items():
        if f"{name}.planes" in model.tensors and part in {of[name], "ternary"}:
            planes, _, rows = model.tensors[f"{name}.scale"].shape
            columns = model.tensors[f"{name}.planes"].shape[2]
            total += planes * rows * columns * coding["steps"] * density
    return total


def variants(options: argparse.Namespace) -> dict[str, PackedModel]:
    """The student whole, and with each part shrunk."""
    if options.packed is not None:
        packed = read_packed(options.packed)
        return {name: shrunk(packed, name) for name in PARTS}
    wanted = Random(planes=options.planes, steps=options.steps, density=options.density)
    return {name: random_model(SHAPES["135m"] | less, wanted) for name, less in SHRUNK.items()}


def density_of(engine: Engine) -> float:
    """Share of steps that fired in all that an engine has read."""
    counts = engine.counts().values()
    return sum(came for came, _ in counts) / max(1, sum(most for _, most in counts))


def parts(options: argparse.Namespace) -> tuple[list[Part], PackedModel]:
    """Times of all parts, the variants in turns."""
    models = variants(options)
    engines = {name: Engine(model, threads=1) for name, model in models.items()}
    whole, chain = models["whole"], Chain(models["whole"])
    times: dict[str, list[float]] = {name: [] for name in [*engines, "ternary"]}
    for _ in range(options.rounds):
        for name, engine in engines.items():
            times[name].append(token_seconds(engine))
        times["ternary"].append(chain.seconds())
    median = {name: statistics.median(taken) for name, taken in times.items()}
    density = density_of(engines["whole"])
    found = [
        part(whole, name, median["whole"] - median[name], density)
        for name in ("head", "low-rank", "mlp")
    ]
    if chain.runs:
        found.append(part(whole, "ternary", median["ternary"], density))
    together = sum(one.bytes_read for one in found if one.name != "mlp")
    added = weights_added(whole, "ternary", density)
    return [
        *found,
        Part(name="whole token", seconds=median["whole"], bytes_read=together, added=added),
    ], whole


def part(model: PackedModel, name: str, seconds: float, density: float) -> Part:
    """A part with its time; ternary matrices are read where a spike meets them."""
    added = weights_added(model, name, density)
    read = min(added * ROW_BYTES or np.inf, tensor_bytes(model, name))
    return Part(name=name, seconds=seconds, bytes_read=read, added=added)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packed", type=Path, nargs="?")
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
