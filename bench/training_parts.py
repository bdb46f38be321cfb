"""Where the time of a KL step goes, by kind of work, from PyTorch's profiler.

    python bench/training_parts.py [--stage spiking] [--planes 1] [--steps 3] [--threads 1]

The step is that of bench/training_speed.py with the teacher from its cache. Compiled kernels count
for the function of autograd that calls them, everything else by its own operation; what the
profiler itself costs is spread over all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder, whose kernels.py others would take for a package of that name
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench import training_speed

KINDS = {
    "ternary products": ("_Product",),
    "coding": ("_Code", "_Rotation", "mean", "encode"),
    "WKV-7": ("asnn_goose::wkv7",),
    "KL": ("_Divergence",),
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::addmm_"),
    "norms": ("rms_norm", "native_group_norm", "native_layer_norm", "linalg_vector_norm"),
    "optimiser": ("_fused_adam",),
    "copies and memory": ("copy_", "empty", "zero", "fill_", "clone", "resize", "_to_copy"),
}
"""Kinds of work by what the names of their operations hold; the rest is element-wise."""


def kind_of(event: Any) -> str:
    """The kind of an event of the profiler, and the pass that it belongs to."""
    names = [event.name]
    while event.cpu_parent is not None:
        event = event.cpu_parent
        names.append(event.name)
    found = next(
        (kind for kind, marks in KINDS.items() if any(mark in names[0] for mark in marks)),
        "element-wise",
    )
    if any("_HeadTerms" in name for name in names) and found == "products":
        return "head"
    if any("Optimizer" in name for name in names):
        return "optimiser"
    backward = any("Backward" in name for name in names)
    return f"{found}, {'backward' if backward else 'forward'}"


def profiled(step: Any, *, rounds: int) -> tuple[Counter[str], Counter[str]]:
    """Seconds of one step by kind of work, and by operation within the kinds."""
    from torch.profiler import ProfilerActivity, profile

    step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(rounds):
            step()
    kinds, operations = Counter[str](), Counter[str]()
    for event in found.events():
        seconds = event.self_cpu_time_total / 1e6 / rounds
        kind = kind_of(event)
        kinds[kind] += seconds
        operations[f"{kind}: {event.name}"] += seconds
    return kinds, operations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=tuple(training_speed.BARS), default="spiking")
    parser.add_argument("--planes", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--operations", type=int, default=0, help="print so many of them as well")
    options = parser.parse_args()
    training_speed.set_up_as_commands_do()
    import torch

    options.turns = "cached"
    training_speed.PRECISION["*"] |= {"planes": options.planes, "steps": options.steps}
    step = training_speed.made_step(options)
    torch.set_num_threads(options.threads)
    kinds, operations = profiled(step, rounds=options.rounds)
    whole = sum(kinds.values())
    for kind, seconds in kinds.most_common():
        print(f"{kind:32} {seconds:7.3f} s {seconds / whole:6.1%}")
    print(f"{'all':32} {whole:7.3f} s, {options.window / whole:.1f} tokens/s")
    for name, seconds in operations.most_common(options.operations):
        print(f"  {name:80} {seconds:7.3f} s")


if __name__ == "__main__":
    main()
