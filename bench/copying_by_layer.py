"""Which of a student's mixers cannot copy: words that come twice, with some mixers in the teacher.

    python bench/copying_by_layer.py runs/record-mixers/model --layers 17,18 --layers all

A line for each set of layers: nats on random words that come twice, and the share of words copied
from far (`eval/copy_probe.py`), of the teacher with the student's mixers in those layers.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from asnn_goose.eval.copy_probe import probes
from asnn_goose.model import load_teacher
from asnn_goose.model.assistant import load_student
from asnn_goose.model.graft import graft_trace
from asnn_goose.trace import Trace


def layers_of(text: str, blocks: int) -> set[int]:
    """`17,18`, `0-16` or `all` as numbers of blocks."""
    if text == "all":
        return set(range(blocks))
    ends = [part.split("-") for part in text.split(",")]
    return {layer for end in ends for layer in range(int(end[0]), int(end[-1]) + 1)}


def main() -> None:
    """Print the probes of every set of layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", help="run folder, or a student's own")
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--layers", action="append", required=True, help="such as 17,18 or 0-16")
    options = parser.parse_args()
    teacher, student = load_teacher(options.teacher), load_student(options.student)
    for text in options.layers:
        layers = layers_of(text, len(student.blocks))

        def trace(tokens_BT: Tensor, needs: frozenset[str], layers: set[int] = layers) -> Trace:
            return graft_trace(teacher, student, layers, tokens_BT, needs)

        with torch.no_grad():
            found = probes(trace, vocabulary=teacher.words)
        print(
            f"{text}: {found.repeated_loss:.2f} nats, {found.copied_share:.0%} copied", flush=True
        )


if __name__ == "__main__":
    main()
