"""KL stages of this checkout against those of another one, step by step in turns.

    python bench/training_speed.py --before CHECKOUT/src [--check] [--stage spiking] [--rounds 5]

SmolLM2-135M and its student on one thread: one ternary plane and three ternary steps everywhere
(`spiking`), or `dense`. Each side is a process of its own that waits for its turn; what counts is
the processor's time of a step, so that other work on the machine disturbs little. Each side sets
torch up as its own command line does. Here the teacher comes from its cache, there it runs; with
`--live` it runs on both sides, with `--ce` this side trains by cross-entropy instead (what a cached
teacher may cost). `--check` fails below 2.0 times (dense 1.4), or where a step of this side needs
more memory.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BARS = {"spiking": 2.0, "dense": 1.4}
HERE = Path(__file__).resolve().parents[1] / "src"
PRECISION = {"*": {"planes": 1, "steps": 3, "threshold": 4.0, "rotate": True}}


class Side:
    """One checkout's stage in a process of its own."""

    def __init__(self, source: Path, options: argparse.Namespace, *, teacher: str) -> None:
        settings = [f"--{key}={getattr(options, key)}" for key in ("stage", "window", "layers")]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--turns", teacher, *settings],
            env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self) -> float:
        """Seconds of one more step; the first call's are those of starting."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> float:
        """End it; gives its peak memory in GiB."""
        return float(self._process.communicate("end\n")[0].split()[-1])


def take_turns(options: argparse.Namespace) -> None:
    """One side: a step and its seconds for every line, the peak of memory at the end."""
    set_up_as_commands_do()
    from asnn_goose.meter import peak_memory

    step = made_step(options)
    for line in sys.stdin:
        if line.strip() != "step":
            break
        start = time.process_time()
        step()
        print(time.process_time() - start, flush=True)
    import torch

    print(peak_memory(torch.device("cpu")) / 2**30, flush=True)


def set_up_as_commands_do() -> None:
    """What `asnn-goose` does before torch is there; older checkouts do nothing."""
    if find_spec("asnn_goose.mkl"):
        importlib.import_module("asnn_goose.mkl").use_fast_kernels()


def made_step(options: argparse.Namespace) -> Any:
    """One optimiser step of the stage."""
    import torch

    # In the place of this folder, whose kernels.py others would take for a package of that name.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from bench.objectives import random_batch, step_of

    from asnn_goose.losses import KL, CrossEntropy, Objective, Term
    from asnn_goose.model import convert, load_teacher
    from asnn_goose.ops.allocator import keep_freed_memory

    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    teacher = load_teacher("smollm2-135m")
    cut = teacher.layers[: options.layers]
    teacher.model.base_model.layers = cut
    teacher.config.num_hidden_layers = len(cut)
    student = convert(teacher)
    if options.stage == "spiking":
        student.set_precision(PRECISION)
    student.embedding.requires_grad_(False)
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-6, fused=True)
    data = random_batch(student.config.vocab_size, batch=1, window=options.window)
    objective = Objective([Term("loss", 1.0, CrossEntropy() if options.turns == "ce" else KL())])
    taught = behind_cache(teacher) if options.turns == "cached" else teacher
    return step_of(student, taught, objective, optimiser, data)


def behind_cache(teacher: Any) -> Any:
    """The teacher with a cache of its own, which the first step fills."""
    from asnn_goose.recipe.run_tables import CacheTable
    from asnn_goose.recipe.teacher_caches import cached

    os.environ["ASNN_GOOSE_CACHE"] = tempfile.mkdtemp(prefix="asnn-goose-")
    return cached(teacher, CacheTable(), tell=print)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, default=HERE, metavar="SRC")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--stage", choices=tuple(BARS), default="spiking")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--ce", action="store_true")
    parser.add_argument("--turns", choices=("live", "cached", "ce"), help="be one side")
    return parser.parse_args()


def main() -> None:
    """Measure and print; exit status 1 where --check fails."""
    options = arguments()
    if options.turns:
        take_turns(options)
        return
    now = "ce" if options.ce else "live" if options.live else "cached"
    sides = {
        "before": Side(options.before, options, teacher="cached" if options.ce else "live"),
        "now": Side(HERE, options, teacher=now),
    }
    for side in sides.values():  # fills caches, settles the heap
        side.ask()
    turns = [{name: side.ask() for name, side in sides.items()} for _ in range(options.rounds)]
    ratio = statistics.median(turn["before"] / turn["now"] for turn in turns)
    peaks = {name: side.close() for name, side in sides.items()}
    for name, peak in peaks.items():
        seconds = statistics.median(turn[name] for turn in turns)
        rate = options.window / seconds
        print(f"{name:7} {seconds:.2f} s a step, {rate:.1f} tokens/s, peak {peak:.2f} GiB")
    print(f"{options.stage}, {options.layers} layers, window {options.window}: {ratio:.2f} times")
    if options.check and ratio < BARS[options.stage]:
        raise SystemExit(f"wanted at least {BARS[options.stage]} times")
    if options.check and peaks["now"] > peaks["before"]:
        raise SystemExit(f"a step needs {peaks['now'] - peaks['before']:.2f} GiB more than before")


if __name__ == "__main__":
    main()
