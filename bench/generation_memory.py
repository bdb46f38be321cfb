"""Memory over a long generation: resident size after 100 tokens and after many more.

    python bench/generation_memory.py [--check] [--tokens 2000]

A converted, untrained SmolLM2-135M student generates greedily through its recurrent state; what
it says does not matter here. `--check` fails where the process grew by more than 1 %.
"""

from __future__ import annotations

import argparse
import time

import torch

from asnn_goose.meter import resident_mib
from asnn_goose.model import GooseCache, convert, load_teacher

FIRST = 100
GROWTH = 0.01


@torch.no_grad()
def main() -> None:
    """Generate, print the sizes, and fail where --check finds growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tokens", type=int, default=2000)
    options = parser.parse_args()
    student = convert(load_teacher("smollm2-135m"))
    cache, token_BT = GooseCache(), torch.zeros(1, 1, dtype=torch.long)
    sizes, start = dict[int, float](), time.perf_counter()
    for count in range(1, options.tokens + 1):
        logits = student(token_BT, past_key_values=cache, use_cache=True).logits
        token_BT = logits[:, -1:].argmax(-1)
        if count % FIRST == 0:
            sizes[count] = resident_mib()
    speed = options.tokens / (time.perf_counter() - start)
    first, last = sizes[FIRST], sizes[max(sizes)]
    print(f"{first:.1f} MiB after {FIRST} tokens, {last:.1f} MiB after {max(sizes)}")
    print(f"growth {last / first - 1:+.3%}, {speed:.1f} tokens/s")
    if options.check and last > first * (1 + GROWTH):
        raise SystemExit(f"the process grew by more than {GROWTH:.0%}")


if __name__ == "__main__":
    main()
