"""Dense students of SmolLM2-135M's shapes in fp16, int8 and int4, beside llama.cpp's Q4_1 teacher.

    python bench/dense.py [--check] [--llama-cpp FOLDER] [--rounds 5] [--tokens 64] [--prompt 128]

Random weights; everything from one token to the next counts on our side, drawing included, while
llama.cpp decodes without drawing. The sides take turns; figures are medians of the rounds, ratios
medians of each round's ratio to fp16. "int4, head" has its embedding and head in four bits too.
FOLDER holds llama.cpp's libraries (bench/peers/build_llama_cpp.sh builds them; default
$ASNN_GOOSE_LLAMA_CPP).

--check fails (exit status 1) unless int4 with its head decodes 1.1 times as fast as the teacher.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.decode import LLAMA, TEACHER, Bar, Sides, Times, in_turns
from bench.peers.llama_logits import LlamaCpp
from bench.peers.peer import NotRunError

from asnn_goose.eval import speed
from asnn_goose.eval.random_student import SHAPES, Random, random_model
from asnn_goose.infer.backend import native_module
from asnn_goose.infer.engine import Engine
from asnn_goose.sources import teacher_folder

FORMS = {
    "fp16": Random(planes=0, steps=0),
    "int8": Random(planes=0, steps=0, dense="int8"),
    "int4": Random(planes=0, steps=0, dense="int4"),
    "int4, head": Random(planes=0, steps=0, dense="int4", head="int4"),
}
FIRST, BEST = "fp16", "int4, head"
BAR = Bar(side=f"{BEST}, decode", least=1.1, over=LLAMA)


def our_sides(shape: str, *, tokens: int, prompt: int) -> tuple[Sides, dict[str, int]]:
    """Decoding and prefill of every form, and the bytes of its weights."""
    sides: Sides = {}
    sizes = {}
    for name, wanted in FORMS.items():
        model = random_model(SHAPES[shape], wanted)
        engine = Engine(model, threads=1)
        sizes[name] = sum(array.nbytes for array in model.tensors.values())
        sides[f"{name}, decode"] = partial(speed.decode_rate, engine, tokens=tokens)
        sides[f"{name}, prefill"] = partial(speed.prefill_rate, engine, tokens=prompt)
    return sides, sizes


def their_side(folder: Path | None, *, tokens: int) -> Sides:
    """The teacher on llama.cpp; nothing, and a line that says why, where it cannot run."""
    try:
        if folder is None:
            raise NotRunError("give --llama-cpp FOLDER (see bench/peers/build_llama_cpp.sh)")
        file = next(Path(teacher_folder(TEACHER)).glob("*.gguf"))
        llama = LlamaCpp(folder, file, threads=1, context=2 * tokens + 64)
    except NotRunError as reason:
        print(f"{LLAMA} not run: {reason}")
        return {}
    return {LLAMA: partial(llama.decode_rate, tokens=tokens)}


def ratio(rates: Times, name: str, over: str) -> float:
    """Median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(rates[name], rates[over], strict=True))


def show(rates: Times, sizes: dict[str, int]) -> None:
    """A line for each form, and the teacher's."""
    print(f"instruction set {native_module().isa()}, one thread, random weights")
    print(f"{'form':<12}{'MB':>7}{'decode/s':>10}{'x fp16':>8}{'prefill/s':>11}{'x fp16':>8}")
    for form, size in sizes.items():
        print(f"{form:<12}{size / 1e6:7.0f}", end="")
        for kind, width in (("decode", 10), ("prefill", 11)):
            name = f"{form}, {kind}"
            found, times = statistics.median(rates[name]), ratio(rates, name, f"{FIRST}, {kind}")
            print(f"{found:{width}.1f}{times:8.2f}", end="")
        print()
    if LLAMA in rates:
        print(f"{LLAMA}: {statistics.median(rates[LLAMA]):.1f} tokens/s", end="; ")
        print(f"{BEST} {BAR.found(rates):.2f} times as fast")


def main() -> int:
    """Measure and print; 1 if the bar was to be checked and is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("ASNN_GOOSE_LLAMA_CPP")
    parser.add_argument("--check", action="store_true", help="fail if the bar is missed")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", default=default)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128)
    options = parser.parse_args()
    sides, sizes = our_sides(options.shape, tokens=options.tokens, prompt=options.prompt)
    sides |= their_side(options.llama_cpp, tokens=options.tokens)
    rates = in_turns(sides, rounds=options.rounds)
    show(rates, sizes)
    found = BAR.found(rates)
    return 0 if not options.check or (found is not None and found >= BAR.least) else 1


if __name__ == "__main__":
    sys.exit(main())
