"""The teacher in fp32 under Transformers, with its key-value cache; run in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from bench.peers.peer import ROOT, NotRunError, Peer, not_run, watched

NAME = "Transformers, fp32 teacher"


def teacher_fp32(model: str, *, decode: int, prefill: int, repeats: int, threads: int) -> Peer:
    """Median tokens per second of a teacher by name or folder."""
    numbers = [str(n) for n in (decode, prefill, repeats, threads)]
    try:
        said, memory = watched(
            [sys.executable, "-m", __name__, model, *numbers], PYTHONPATH=str(ROOT)
        )
    except NotRunError as reason:
        return not_run(NAME, reason)
    speeds = json.loads(said.splitlines()[-1])
    return Peer(name=NAME, **speeds, memory=memory, note=f"{threads} thread")


def _main(model: str, decode: str, prefill: str, repeats: str, threads: str) -> None:
    import torch

    from asnn_goose.model import load_teacher

    torch.set_num_threads(int(threads))
    teacher = load_teacher(model).model
    with torch.inference_mode():
        pairs = [_once(teacher, int(decode), int(prefill)) for _ in range(int(repeats))]
    decoded, read = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(json.dumps({"decode": decoded, "prefill": read}))


def _once(teacher: Any, decode: int, prefill: int) -> tuple[float, float]:
    """Tokens per second of a decode from nothing, and of a prompt."""
    import torch

    token, cache = torch.zeros(1, 1, dtype=torch.long), None
    started = time.perf_counter()
    for _ in range(decode):
        output = teacher(token, past_key_values=cache, use_cache=True)
        token, cache = output.logits[:, -1:].argmax(-1), output.past_key_values
    between = time.perf_counter()
    prompt = torch.zeros(1, prefill, dtype=torch.long)
    teacher(prompt, use_cache=True, logits_to_keep=1)
    ended = time.perf_counter()
    return decode / (between - started), prefill / (ended - between)


if __name__ == "__main__":
    _main(*sys.argv[1:])
