"""SpikeGPT and SpikeBERT beside dense twins: speed of a training step, operations, energy.

    python bench/spiking_systems.py [--student FOLDER]

Twins have the same shape and see the same random words; the table of costs is that of
`asnn_goose.eval.energy`. Untrained neurons fire as they happen to: give a trained student's folder
for its own figures. Steps of both are taken in turn, so that a busy machine slows them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from asnn_goose.eval.student_work import student_work
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.model.presets import preset_settings

SHAPE = {
    "vocab_size": 4096,
    "hidden_size": 192,
    "num_hidden_layers": 6,
    "num_attention_heads": 3,
    "head_size": 64,
}
TWINS = {"spikegpt": "rwkv4", "spikebert": "rwkv5"}
BATCH, WINDOW = 2, 256


def made(preset: str) -> GooseForCausalLM:
    """A student of the lab teacher's shape, from scratch."""
    torch.manual_seed(0)
    return GooseForCausalLM(GooseConfig(**(SHAPE | preset_settings(preset, width=192))))


def seconds(students: list[GooseForCausalLM], tokens_BT: Tensor, repeats: int) -> list[float]:
    """Median of a training step without the optimiser; the first round does not count."""
    times: list[list[float]] = [[] for _ in students]
    for _ in range(repeats + 1):
        for samples, student in zip(times, students, strict=True):
            start = time.perf_counter()
            student.train()(tokens_BT, labels=tokens_BT).loss.backward()
            samples.append(time.perf_counter() - start)
    return [statistics.median(samples[1:]) for samples in times]


def report(name: str, student: GooseForCausalLM, tokens_BT: Tensor) -> None:
    """Print additions, multiplications and energy per token by part."""
    work = student_work(student, tokens_BT)
    for part in work:
        print(
            f"  {name:>10} {part.part:>10}  {part.additions / 1e6:8.3f} M additions"
            f"  {part.multiplications / 1e6:8.3f} M multiplications"
            f"  {part.picojoules / 1e6:8.3f} uJ"
        )
    print(f"  {name:>10} {'all':>10}  {sum(part.picojoules for part in work) / 1e6:.3f} uJ")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--student", type=Path, help="a trained student, instead of new ones")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokens_BT = torch.randint(4096, (BATCH, WINDOW), generator=torch.Generator().manual_seed(1))
    if options.student is not None:
        report("student", GooseForCausalLM.from_pretrained(options.student), tokens_BT)
        return
    for spiking, dense in TWINS.items():
        students = [made(spiking), made(dense)]
        slow, fast = seconds(students, tokens_BT, options.repeats)
        rates = [BATCH * WINDOW / each for each in (slow, fast)]
        print(f"{spiking}: {rates[0]:.0f} tokens/s, {dense} {rates[1]:.0f}, {fast / slow:.2f}x")
        for name, student in zip((spiking, dense), students, strict=True):
            report(name, student, tokens_BT)


if __name__ == "__main__":
    main()
