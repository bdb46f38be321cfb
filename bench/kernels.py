"""The event-driven ternary product against llama.cpp's TQ2_0 and torch, one thread, weights hot.

    python bench/kernels.py [--check] [--llama-cpp FOLDER]

Both sides take an fp32 vector and give an fp32 vector: ours counts encoder and product, TQ2_0 its
Q8_K quantisation and the dot products. "product" is ours from ready lists of spikes. All run in
turns in this process, in CPU time of the thread; figures are medians, ratios medians of ratios.
FOLDER holds libggml (bench/peers/build_llama_cpp.sh builds it; default $ASNN_GOOSE_LLAMA_CPP).

With --check the exit status is 1 unless at density .3 TQ2_0 takes at least 6 times as long at
768x768 and 2048x2048, and the product alone makes 350 GMAC/s at 576x576.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers.peer import NotRunError
from bench.peers.tq2_0 import Ggml

from asnn_goose.eval.firing_rate import gaussian_threshold
from asnn_goose.format.planes import pack_planes
from asnn_goose.infer.backend import native_module

SHAPES = ((576, 576), (1536, 576), (576, 1536), (768, 768), (2048, 2048), (49152, 576))
DENSITIES = (0.1, 0.3, 0.5, 1.0)
REPEATS = 15
PIECE = 5e-4
"""Seconds of one piece of work between two readings of the clock."""

BAR_DENSITY = 0.3
RATIO_BARS = {(768, 768): 6.0, (2048, 2048): 6.0}
PRODUCT_BARS = {(576, 576): 350e9}

Work = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Seconds per product of every side, and TQ2_0's time over ours."""

    shape: tuple[int, int]
    density: float
    seconds: dict[str, float]
    ratio: float | None

    def gmacs(self, side: str) -> float | None:
        """Dense-equivalent products per second, in units of 1e9."""
        rows, columns = self.shape
        return rows * columns / self.seconds[side] / 1e9 if side in self.seconds else None


class Ours:
    """One ternary matrix of the compiled module, and buffers that it reads and writes."""

    def __init__(self, codes_MK: np.ndarray, scale: float, x_K: np.ndarray) -> None:
        rows, columns = codes_MK.shape
        self.planes = pack_planes(codes_MK[None])
        self.scale = np.full((1, 1, rows), scale, np.float32)
        self.x, self.y = x_K, np.full(rows, np.nan, np.float32)
        self.matrix = native_module().TernaryMatrix(
            self.planes.ctypes.data, 1, rows, columns, 1, self.scale.ctypes.data
        )

    def whole(self, threshold: float) -> Work:
        """Encoder and product."""
        multiply, x, y = self.matrix.multiply, self.x.ctypes.data, self.y.ctypes.data

        return lambda times: multiply(x, y, 1, 1, "rate", threshold, False, times)

    def product(self, threshold: float) -> Work:
        """The product alone, of spikes that `threshold` lets through."""
        codes, matrix, y = self.codes(threshold), self.matrix, self.y.ctypes.data
        matrix.prepare(codes.ctypes.data, 1, 1, "rate")
        return lambda times: matrix.product(y, times)

    def codes(self, threshold: float) -> np.ndarray:
        """The spikes -1, 0, 1 (K,) of the input."""
        magnitude = np.abs(self.x)
        fires = magnitude > np.float32(threshold) * magnitude.mean(dtype=np.float64)
        spikes: np.ndarray = (np.sign(self.x) * fires).astype(np.int16)
        return spikes

    def check(self, threshold: float, codes_MK: np.ndarray) -> None:
        """Raise AssertionError where the product is not the one that numpy gives."""
        q_K = self.codes(threshold)
        fired = np.abs(self.x[q_K != 0])
        amplitude = fired.mean() if len(fired) else 0.0
        self.whole(threshold)(1)
        wanted = amplitude * self.scale[0, 0] * (codes_MK.astype(np.int32) @ q_K.astype(np.int32))
        np.testing.assert_allclose(self.y, wanted, rtol=1e-4, atol=1e-5)


def threshold_for(density: float) -> float:
    """Threshold under which a Gaussian input has this density; below every magnitude for 1."""
    return 1e-6 if density == 1 else gaussian_threshold(density)


def compare(
    shape: tuple[int, int], ggml: Ggml | None, *, repeats: int, seed: int = 0
) -> Iterator[Row]:
    """Rows of one shape, for every density; the sides take turns."""
    random = np.random.default_rng(seed)
    codes_MK = random.integers(-1, 2, shape, dtype=np.int8)
    x_K = random.standard_normal(shape[1], dtype=np.float32)
    ours, weight_MK = Ours(codes_MK, 0.5, x_K), 0.5 * codes_MK.astype(np.float32)
    others = peers(weight_MK, x_K, ggml)
    for density in DENSITIES:
        threshold = threshold_for(density)
        ours.check(threshold, codes_MK)
        sides = {"ours": ours.whole(threshold), "product": ours.product(threshold), **others}
        times = in_turns(sides, repeats=repeats)
        ratios = [b / a for a, b in zip(times["ours"], times.get("tq2_0", []), strict=False)]
        yield Row(
            shape=shape,
            density=density,
            seconds={side: statistics.median(taken) for side, taken in times.items()},
            ratio=statistics.median(ratios) if ratios else None,
        )


def peers(weight_MK: np.ndarray, x_K: np.ndarray, ggml: Ggml | None) -> dict[str, Work]:
    """What the product is compared with: torch in fp32, and TQ2_0 where the width allows."""
    weight, x, y = (torch.from_numpy(a) for a in (weight_MK, x_K, np.zeros(len(weight_MK), "f4")))

    def dense(times: int) -> None:
        for _ in range(times):
            torch.mv(weight, x, out=y)

    sides: dict[str, Work] = {"torch": dense}
    if ggml is not None and weight_MK.shape[1] % 256 == 0:
        result_M = np.full(len(weight_MK), np.nan, np.float32)
        sides["tq2_0"] = ggml.multiplier(weight_MK, x_K, result_M)
        sides["tq2_0"](1)
        wanted = weight_MK @ x_K
        assert np.abs(result_M - wanted).max() < 0.02 * np.abs(wanted).max(), "TQ2_0 is wrong"
    return sides


def in_turns(sides: dict[str, Work], *, repeats: int) -> dict[str, list[float]]:
    """Seconds per product of each side, once per round; the first round does not count."""
    pieces = {side: piece(work) for side, work in sides.items()}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats + 1):
        for side, work in sides.items():
            times[side].append(seconds(work, pieces[side]))
    return {side: taken[1:] for side, taken in times.items()}


def piece(work: Work) -> int:
    """Calls that fill PIECE."""
    work(1)
    return max(1, round(PIECE / seconds(work, 3)))


def seconds(work: Work, times: int) -> float:
    """CPU seconds of this thread per call."""
    started = time.thread_time()
    work(times)
    return (time.thread_time() - started) / times


def missed(rows: list[Row]) -> list[str]:
    """Bars that are not met, or could not be looked at."""
    found = []
    for row in (row for row in rows if row.density == BAR_DENSITY):
        name = "x".join(map(str, row.shape))
        bar, speed = RATIO_BARS.get(row.shape), row.gmacs("product")
        if bar and (row.ratio is None or row.ratio < bar):
            said = "not measured" if row.ratio is None else f"{row.ratio:.1f}"
            found.append(f"{name}: TQ2_0 / ours {said}, should be {bar:g}")
        floor = PRODUCT_BARS.get(row.shape)
        if floor and speed is not None and speed * 1e9 < floor:
            found.append(f"{name}: product {speed:.0f} GMAC/s, should be {floor / 1e9:g}")
    return found


def show(row: Row) -> None:
    """One line of the table."""
    cells = [row.gmacs(side) for side in ("ours", "product", "tq2_0", "torch")]
    shown = "".join(f"{'-' if cell is None else f'{cell:.1f}':>10}" for cell in cells)
    ratio = "" if row.ratio is None else f"{row.ratio:8.1f}x"
    micro = 1e6 * row.seconds["ours"]
    name = "x".join(map(str, row.shape))
    print(f"{name:>11}{row.density:9.1f}{shown}{micro:11.2f}{ratio}", flush=True)


def open_ggml(folder: Path | None) -> Ggml | None:
    """The peer's libraries, or None and a line that says why not."""
    try:
        if folder is None:
            raise NotRunError("give --llama-cpp FOLDER (see bench/peers/build_llama_cpp.sh)")
        return Ggml(folder)
    except NotRunError as reason:
        print(f"TQ2_0 not run: {reason}")
        return None


def main() -> int:
    """Print the table; 1 if a bar was to be checked and is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    default = os.environ.get("ASNN_GOOSE_LLAMA_CPP")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ggml = open_ggml(options.llama_cpp)
    print(f"instruction set {native_module().isa()}; GMAC/s, one thread")
    print(
        f"{'shape':>11}{'density':>9}{'ours':>10}{'product':>10}{'TQ2_0':>10}{'torch':>10}", end=""
    )
    print(f"{'ours µs':>11}{'ratio':>9}")
    rows = []
    for shape in SHAPES:
        for row in compare(shape, ggml, repeats=options.repeats):
            rows.append(row)
            show(row)
    lines = missed(rows)
    if options.check and lines:
        print("missed:", *lines, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
