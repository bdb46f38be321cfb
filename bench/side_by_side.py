"""Our engine and other people's on the same shapes, one after the other.

    python bench/side_by_side.py [--llama-cpp FOLDER] [--ik-llama WHEEL] [--litespark FOLDER]

Decode from an empty context and prefill of one prompt, tokens per second; the model of each peer is
named, and one that cannot run here says why. bench/decode.py compares in turns and checks the bars.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers import ik_llama, litespark, llama_cpp, transformers_teacher
from bench.peers.peer import HEADINGS, Peer

from asnn_goose.eval import speed
from asnn_goose.eval.random_student import Random, write_random
from asnn_goose.infer.engine import Engine
from asnn_goose.sources import teacher_folder

TEACHER = "smollm2-135m"


def ours(scratch: Path, options: argparse.Namespace, *, planes: int, steps: int) -> Peer:
    """A random student of the teacher's shapes on our engine, drawing included."""
    folder = scratch / f"ours-{planes}-{steps}"
    folder.mkdir()
    write_random(folder, Random(shape="135m", planes=planes, steps=steps, density=options.density))
    engine = Engine.load(folder, options.threads)
    rates = {
        "decode": lambda: speed.decode_rate(engine, tokens=options.decode),
        "prefill": lambda: speed.prefill_rate(engine, tokens=options.prefill),
    }
    start = speed.cold_start(
        folder, threads=options.threads, backend="native", tokens=options.decode
    )
    return Peer(
        name=f"ours, {planes} plane(s), {steps} step(s)",
        **{name: speed.median(rate, repeats=options.repeats) for name, rate in rates.items()},
        memory=start.peak_bytes,
        note=f"random weights, density {options.density:g}, {options.threads} thread",
    )


def everyone(options: argparse.Namespace, scratch: Path) -> Iterator[Peer]:
    """Each engine in turn."""
    gguf = next(Path(teacher_folder(TEACHER)).glob("*.gguf"))
    numbers = {name: getattr(options, name) for name in ("decode", "prefill", "repeats", "threads")}
    bench = llama_cpp.LlamaBench(folder=options.llama_cpp or Path("build/llama.cpp"), **numbers)
    yield ours(scratch, options, planes=1, steps=1)
    yield ours(scratch, options, planes=2, steps=3)
    yield llama_cpp.teacher_q4_1(bench, gguf)
    yield from llama_cpp.random_tq2_0(bench, gguf, scratch)
    yield ik_llama.random_iq2_bn(options.ik_llama, gguf, scratch, **numbers)
    yield litespark.block_products(
        options.litespark, decode=options.decode, threads=options.threads
    )
    yield transformers_teacher.teacher_fp32(TEACHER, **numbers)


def main() -> None:
    """Print one line per engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("ASNN_GOOSE_LLAMA_CPP")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", default=default)
    parser.add_argument("--ik-llama", type=Path, metavar="WHEEL")
    parser.add_argument("--litespark", type=Path, metavar="FOLDER")
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--density", type=float, default=0.3)
    options = parser.parse_args()
    print(HEADINGS)
    with tempfile.TemporaryDirectory(prefix="asnn-goose-") as scratch:
        for peer in everyone(options, Path(scratch)):
            print(peer, flush=True)


if __name__ == "__main__":
    main()
