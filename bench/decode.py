"""The whole model against llama.cpp running the teacher: random students of SmolLM2-135M's shapes.

    python bench/decode.py [--check] [--llama-cpp FOLDER] [--density 0.3] [--rounds 5]

Everything from one token to the next counts on our side: encoder, rotation, matrices, low-rank
factors, norms, recurrence, head, drawing. llama-bench decodes without drawing. The sides take
turns; figures are medians of the rounds, ratios medians of each round's ratio. FOLDER holds
llama-bench (bench/peers/build_llama_cpp.sh builds it; default $ASNN_GOOSE_LLAMA_CPP). Pin the
process to a core (taskset -c 0) where others compute; two threads need two.

--check fails (exit status 1) unless, at density .3: one plane and one step reach 350 tokens/s and 4
times the teacher, two planes and three steps 120 and more than the teacher, prefill 800, and 16
sequences together 1.3 times the tokens/s of one on one thread, 2 times on two. --json writes what
bench/speed_plot.py draws.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers.llama_cpp import LlamaBench
from bench.peers.peer import NotRunError

from asnn_goose.eval import speed
from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.infer.engine import Engine
from asnn_goose.sources import teacher_folder

MANY = 16
TEACHER = "smollm2-135m"
LLAMA = "llama.cpp Q4_1"
SINGLE, DOUBLE = "1 plane, 1 step", "2 planes, 3 steps"
PREFILL, TOGETHER, TWO_THREADS = "prefill", f"{MANY} sequences", f"{MANY} sequences, 2 threads"

Sides = dict[str, Callable[[], float]]
Times = dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a side must reach: in tokens/s, or as a multiple of another side's."""

    side: str
    least: float
    over: str | None = None

    def found(self, rates: Times) -> float | None:
        """Median of the rounds; None where a side did not run."""
        if self.side not in rates:
            return None
        if self.over is None:
            return statistics.median(rates[self.side])
        pairs = zip(rates[self.side], rates.get(self.over, []), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs]
        return statistics.median(ratios) if ratios else None

    def __str__(self) -> str:
        return self.side + (f" / {self.over}" if self.over else ", tokens/s")


BARS = (
    Bar(side=SINGLE, least=350),
    Bar(side=SINGLE, least=4, over=LLAMA),
    Bar(side=DOUBLE, least=120),
    Bar(side=DOUBLE, least=1, over=LLAMA),
    Bar(side=PREFILL, least=800),
    Bar(side=TOGETHER, least=1.3, over=SINGLE),
    Bar(side=TWO_THREADS, least=2, over=SINGLE),
)


def our_sides(options: argparse.Namespace) -> Sides:
    """Every measurement of our engine."""
    density, tokens = options.density, options.tokens
    models = {
        steps: random_model(SHAPES["135m"], Random(planes=planes, steps=steps, density=density))
        for planes, steps in ((1, 1), (2, 3))
    }
    one, both = Engine(models[1], threads=1), Engine(models[1], threads=2)
    other, few = Engine(models[3], threads=1), max(1, tokens // 4)
    return {
        SINGLE: lambda: speed.decode_rate(one, tokens=tokens),
        DOUBLE: lambda: speed.decode_rate(other, tokens=tokens),
        PREFILL: lambda: speed.prefill_rate(one, tokens=options.prompt),
        TOGETHER: lambda: speed.decode_rate(one, tokens=few, concurrent=MANY),
        TWO_THREADS: lambda: speed.decode_rate(both, tokens=few, concurrent=MANY),
    }


def trained_sides(students: dict[str, float], *, tokens: int) -> Sides:
    """Decoding by trained students, packed, by the names of their folders."""
    engines = {folder: Engine.load(Path(folder), threads=1) for folder in students}
    return {
        folder: partial(speed.decode_rate, engine, tokens=tokens)
        for folder, engine in engines.items()
    }


def student(text: str) -> tuple[str, float]:
    """A packed folder and the perplexity that `asnn-goose eval` gave its student."""
    folder, _, perplexity = text.rpartition("=")
    if not folder:
        raise argparse.ArgumentTypeError(f"{text}: write FOLDER=PERPLEXITY")
    return folder, float(perplexity)


def their_side(folder: Path | None, *, tokens: int) -> Sides:
    """The teacher on llama.cpp; nothing, and a line that says why, where it cannot run."""
    try:
        if folder is None:
            raise NotRunError("give --llama-cpp FOLDER (see bench/peers/build_llama_cpp.sh)")
        bench = LlamaBench(folder=folder, decode=tokens)
        bench.program("llama-bench")
    except NotRunError as reason:
        print(f"{LLAMA} not run: {reason}")
        return {}
    gguf = next(Path(teacher_folder(TEACHER)).glob("*.gguf"))
    return {LLAMA: lambda: bench.decode_only(gguf)}


def in_turns(sides: Sides, *, rounds: int) -> Times:
    """Tokens per second of each side in every round."""
    rates: Times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            rates[name].append(measure())
    return rates


def show(rates: Times) -> bool:
    """Print speeds and bars; True where every bar is met."""
    for name, found in rates.items():
        print(f"{name:<26}{statistics.median(found):9.1f} tokens/s  ({min(found):.1f} at least)")
    good = True
    for bar in BARS:
        value = bar.found(rates)
        met = value is not None and value >= bar.least
        good &= met
        said = "not measured" if value is None else f"{value:.2f}"
        print(f"{'met   ' if met else 'MISSED'} {bar!s:<46}{said:>12}  (at least {bar.least:g})")
    return good


def points(rates: Times, students: dict[str, float], perplexity: float | None) -> dict[str, object]:
    """What the plot reads: tokens/s by planes and steps, of trained students, and the teacher's."""
    speeds = {name: statistics.median(found) for name, found in rates.items()}
    ours = (((1, 1), SINGLE), ((2, 3), DOUBLE))
    rows: list[dict[str, object]] = [
        {"planes": planes, "steps": steps, "tokens_per_s": speeds[name], "perplexity": None}
        for (planes, steps), name in ours
    ]
    teacher = {"name": LLAMA, "tokens_per_s": speeds.get(LLAMA), "perplexity": perplexity}
    for folder, perplexity in students.items():
        speed_of = {"tokens_per_s": speeds[folder], "perplexity": perplexity}
        rows.append({"name": folder, **speed_of})
    return {"points": rows, "teacher": teacher, "rates": rates}


def main() -> int:
    """Measure and print; 1 if a bar was to be checked and is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("ASNN_GOOSE_LLAMA_CPP")
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", default=default)
    parser.add_argument("--density", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--student", type=student, action="append", default=[], metavar="PACKED=PERPLEXITY"
    )
    parser.add_argument("--perplexity", type=float, help="of the teacher, for the plot")
    options = parser.parse_args()
    students = dict(options.student)
    sides = our_sides(options) | their_side(options.llama_cpp, tokens=options.tokens)
    sides |= trained_sides(students, tokens=options.tokens)
    rates = in_turns(sides, rounds=options.rounds)
    good = show(rates)
    if options.json:
        options.json.write_text(
            json.dumps(points(rates, students, options.perplexity), indent=1) + "\n",
            encoding="utf-8",
        )
    return 0 if good or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
