"""What a user would decide by: tokens per second against perplexity, at several context depths.

    python bench/frontier.py runs/spiking runs/dense --text wikitext.txt --out frontier.png

Our students on the engine beside llama.cpp running their teacher in several types, on one core, in
one run: the sides take turns, and figures are medians of the rounds. A student's state does not
grow with the context; a transformer's cache does: both decode after 0, 2048 and 8192 tokens.

Perplexities are all taken by `asnn-goose eval`'s own code on the same windows of --text: students
in PyTorch, the teacher's types as their weights come out of the GGUF. The types are made of the
teacher's own file with llama-quantize (--allow-requantize); a tensor whose rows a type's blocks do
not fit gets another one from llama.cpp, so sizes are told. FOLDER (--llama-cpp, default
$ASNN_GOOSE_LLAMA_CPP) is what bench/peers/build_llama_cpp.sh builds; without it our side runs
alone. Pin the process to a core (taskset -c 0). Needs matplotlib.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers.llama_cpp import LlamaBench
from bench.peers.peer import NotRunError, watched

from asnn_goose.eval.speed import SAMPLING, random_tokens
from asnn_goose.infer.engine import Engine
from asnn_goose.sources import teacher_folder
from asnn_goose.study.evaluate import evaluate
from asnn_goose.study.request import Request
from asnn_goose.subject.engine_model import load_engine

TEACHER = "smollm2-135m"
TYPES = ("Q8_0", "Q4_1", "Q3_K_M", "Q2_K", "IQ2_S", "TQ2_0")
DEPTHS = (0, 2048, 8192)

Rate = Callable[[int], float]
"""A context depth -> tokens per second of decoding after it, once."""


@dataclass(kw_only=True)
class Point:
    """One side: rates by depth, perplexity and bytes; `note` says why a number is missing."""

    name: str
    ours: bool
    perplexity: float | None = None
    size: int | None = None
    rates: dict[int, float] = field(default_factory=dict)
    note: str = ""


def perplexity(model: str, text: Path, *, tokens: int) -> float:
    """Of a model by name or folder, on windows that depend on the text alone."""
    found = evaluate(Request(model=model, on=(str(text),), window=512, tokens=tokens))
    return next(row.score.perplexity for row in found.measurements if row.model != "teacher")


def engine_rate(engine: Engine, depth: int, *, tokens: int) -> float:
    """Of a student, with everything from token to token."""
    state, ids = engine.start(), random_tokens(depth + 1, vocabulary=engine.vocab_size)
    if depth:
        engine.prefill(state, ids[:-1])
    drawn = engine.generate(state, ids[-1:], sampling=SAMPLING, limit=tokens + 1, seed=0)
    next(drawn)
    began = time.perf_counter()
    count = sum(1 for _ in drawn)
    return count / (time.perf_counter() - began)


def llama_rate(bench: LlamaBench, gguf: Path, depth: int, *, tokens: int) -> float:
    """Of a GGUF, by llama-bench. Raises NotRunError."""
    command = [bench.program("llama-bench"), "-m", gguf, "-o", "json", "-t", 1, "-p", 0, "-r", 1]
    said, _ = watched([str(word) for word in (*command, "-n", tokens, "-d", depth)])
    rows = json.loads(said[said.index("[") :])
    return float(rows[0]["avg_ts"])


def our_sides(options: argparse.Namespace) -> Iterator[tuple[Point, Rate]]:
    """Every student that was named."""
    for name in options.students:
        loaded = load_engine(name, threads=1, tell=print)
        point = Point(
            name=Path(name).name,
            ours=True,
            perplexity=perplexity(name, options.text, tokens=options.scored),
            size=sum(array.nbytes for array in loaded.engine.model.tensors.values()),
        )
        yield point, partial(engine_rate, loaded.engine, tokens=options.tokens)


def their_sides(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[Point, Rate]]:
    """The teacher in every type that llama.cpp can make and run here."""
    bench = LlamaBench(folder=options.llama_cpp)
    (source,) = Path(teacher_folder(TEACHER)).glob("*.gguf")
    for kind in TYPES:
        point, folder = Point(name=f"llama.cpp {kind}", ours=False), scratch / kind
        folder.mkdir()
        gguf = folder / "model.gguf"
        try:
            quantised(bench, source, gguf, kind)
            point.size = gguf.stat().st_size
            llama_rate(bench, gguf, 0, tokens=8)
        except NotRunError as reason:
            point.note = f"not run: {reason}"
            yield point, lambda depth: float("nan")
            continue
        try:
            point.perplexity = perplexity(str(folder), options.text, tokens=options.scored)
        except (ValueError, NotImplementedError) as reason:
            point.note = f"weights cannot be read here: {reason}"
        yield point, partial(llama_rate, bench, gguf, tokens=options.tokens)


def quantised(bench: LlamaBench, source: Path, target: Path, kind: str) -> None:
    """The teacher in a type; its own file where that is the one. Raises NotRunError."""
    if kind == "Q4_1":
        shutil.copy(source, target)
        return
    program = bench.program("llama-quantize")
    watched([program, "--allow-requantize", source, target, kind, "1"])


def measured(sides: list[tuple[Point, Rate]], options: argparse.Namespace) -> list[Point]:
    """Every side at every depth, in turns; medians of the rounds."""
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for point, rate in sides:
            for depth in options.depths:
                if not point.note.startswith("not run"):
                    rates.setdefault((point.name, depth), []).append(rate(depth))
    for point, _ in sides:
        found = {depth: rates.get((point.name, depth)) for depth in options.depths}
        point.rates = {depth: statistics.median(one) for depth, one in found.items() if one}
    return [point for point, _ in sides]


def draw(points: list[Point], file: Path) -> None:
    """Rates against perplexity: a mark for each depth, a line through those of one side."""
    importlib.import_module("matplotlib").use("Agg")
    plots: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = plots.subplots(figsize=(8, 5), layout="constrained")
    known = [point for point in points if point.perplexity and point.rates]
    marks = dict(zip(sorted({d for p in known for d in p.rates}), "o^sDv", strict=False))
    for point in known:
        colour = "tab:blue" if point.ours else "tab:orange"
        for depth, rate in point.rates.items():
            axes.plot(point.perplexity, rate, marks[depth], color=colour, markersize=6)
        spread = sorted(point.rates.values())
        axes.plot([point.perplexity] * 2, [spread[0], spread[-1]], color=colour, linewidth=1)
        place = (point.perplexity, spread[-1])
        axes.annotate(point.name, place, textcoords="offset points", xytext=(5, 5), fontsize=8)
    for depth, mark in marks.items():
        axes.plot([], [], mark, color="0.4", label=f"after {depth:,} tokens")
    axes.set(xlabel="perplexity (lower is better)", ylabel="tokens/s, one core", ylim=(0, None))
    axes.set_xscale("log")
    axes.legend()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("students", nargs="*", help="run folders, or students' folders")
    parser.add_argument("--text", type=Path, required=True, help="a .txt file to score")
    parser.add_argument("--scored", type=int, default=32_000, help="tokens of it")
    parser.add_argument("--tokens", type=int, default=64, help="decoded each time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="*", default=DEPTHS)
    default = os.environ.get("ASNN_GOOSE_LLAMA_CPP", "build/llama.cpp/build/bin")
    parser.add_argument("--llama-cpp", type=Path, default=Path(default), metavar="FOLDER")
    parser.add_argument("--json", type=Path, default=Path("frontier.json"))
    parser.add_argument("--out", type=Path, default=Path("frontier.png"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="frontier-") as scratch:
        sides = [*our_sides(options), *their_sides(options, Path(scratch))]
        points = measured(sides, options)
    for point in points:
        rates = "".join(
            f"{point.rates.get(depth, float('nan')):10,.1f}" for depth in options.depths
        )
        found = "-" if point.perplexity is None else f"{point.perplexity:,.2f}"
        size = "-" if point.size is None else f"{point.size / 1e6:,.0f} MB"
        print(f"{point.name:28}{found:>10}{size:>9}{rates}  {point.note}".rstrip())
    options.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    draw(points, options.out)


if __name__ == "__main__":
    main()
