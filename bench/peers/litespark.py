"""litespark-inference: its ternary kernel over all matrices of the teacher's shapes.

Its engine runs one published 2B model only, so no whole model of our shapes can be had: the figure
counts the matrix products of a token with the quantisation of their inputs, and nothing else.
The package lies in a folder (an installed site-packages, or its unpacked source archive; its kernel
is then compiled on first use) and is loaded in a process of its own.
"""

from __future__ import annotations

import importlib
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench.peers.peer import ROOT, NotRunError, Peer, not_run, watched
from bench.peers.random_llama import HEAD, TEACHER

NAME = "litespark, block products alone"
HOW = "pass --litespark FOLDER, the source of litespark-inference (pip download), unpacked"


def block_products(folder: Path | None, *, decode: int, threads: int) -> Peer:
    """Tokens per second as far as the block matrices alone go."""
    compiler = next((found for c in ("clang++", "g++") if (found := shutil.which(c))), "c++")
    try:
        if folder is None or not (folder / "litespark_inference").is_dir():
            raise NotRunError(HOW)
        said, memory = watched(
            [sys.executable, "-m", __name__, str(decode)],
            PYTHONPATH=f"{folder}:{ROOT}",
            OMP_NUM_THREADS=str(threads),
            CXX=compiler,
        )
    except NotRunError as reason:
        return not_run(NAME, reason)
    found = json.loads(said.splitlines()[-1])
    note = f"no attention, norms or head; kernel {found['kernel']}, {threads} thread"
    return Peer(name=NAME, decode=found["decode"], memory=memory, note=note)


def _main(decode: str) -> None:
    kernel: Any = importlib.import_module("litespark_inference.torchless.kernel")
    library = kernel._load()
    work = list(_matrices())
    times = []
    for _ in range(int(decode) + 1):
        started = time.perf_counter()
        for packed, x_K, codes_K, y_M in work:
            scale = library.quantize_activation(x_K, codes_K, len(x_K))
            library.matmul_lut_m1(codes_K, packed, scale, 1.0, y_M, len(y_M), len(x_K))
        times.append(time.perf_counter() - started)
    print(json.dumps({"decode": 1 / statistics.median(times[1:]), "kernel": kernel._ARCH_TAG}))


def _matrices() -> Any:
    """Packed weights, input, its codes and output of every matrix: four codes a byte."""
    random, width, kv = np.random.default_rng(0), TEACHER.width, TEACHER.kv_heads * HEAD
    shapes = [(width, width), (kv, width), (kv, width), (width, width)]
    shapes += [(TEACHER.middle, width)] * 2 + [(width, TEACHER.middle)]
    for rows, columns in shapes * TEACHER.layers:
        digits = random.integers(0, 3, (4, rows, columns // 4), dtype=np.uint8)
        packed = digits[0] | digits[1] << 2 | digits[2] << 4 | digits[3] << 6
        x_K = random.standard_normal(columns, np.float32)
        yield packed, x_K, np.empty(columns, np.int8), np.empty(rows, np.float32)


if __name__ == "__main__":
    _main(*sys.argv[1:])
