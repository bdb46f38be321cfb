"""llama.cpp through its own llama-bench: the Q4_1 teacher, and random TQ2_0 models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.peers.peer import NotRunError, Peer, not_run, watched
from bench.peers.random_llama import TQ2_0_SHAPES, Shape, write_random_llama

HOW = "bench/peers/build_llama_cpp.sh builds it; pass --llama-cpp FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaBench:
    """The programs of a build of llama.cpp in `folder`, and how long they shall measure."""

    folder: Path
    decode: int = 128
    prefill: int = 512
    repeats: int = 3
    threads: int = 1

    def run(self, name: str, gguf: Path) -> Peer:
        """Median tokens per second on one model. Raises NotRunError."""
        command = [self.program("llama-bench"), "-m", gguf, "-o", "json"]
        command += ["-t", self.threads, "-n", self.decode, "-p", self.prefill, "-r", self.repeats]
        said, memory = watched([str(word) for word in command])
        rows = json.loads(said[said.index("[") :])
        speed = {bool(row["n_gen"]): median(row["samples_ts"]) for row in rows}
        note = f"{rows[0]['model_size'] / 1e6:.0f} MB, {self.threads} thread"
        return Peer(
            name=name, decode=speed.get(True), prefill=speed.get(False), memory=memory, note=note
        )

    def decode_only(self, gguf: Path) -> float:
        """Tokens per second of one short decode run. Raises NotRunError."""
        found = replace(self, prefill=0, repeats=1).run("", gguf).decode
        assert found is not None
        return found

    def program(self, name: str) -> Path:
        """A program of the build. Raises NotRunError where it is not there."""
        if not (self.folder / name).exists():
            raise NotRunError(f"no {name} in {self.folder}: {HOW}")
        return self.folder / name

    def quantise(self, source: Path, target: Path, kind: str) -> None:
        """Turn a GGUF into another type with llama-quantize. Raises NotRunError."""
        watched([self.program("llama-quantize"), source, target, kind, "1"])


def median(samples: list[float]) -> float:
    """Middle one of the samples, or the mean of the two in the middle."""
    ordered, half = sorted(samples), len(samples) // 2
    return (ordered[half] + ordered[~half]) / 2


def teacher_q4_1(bench: LlamaBench, gguf: Path) -> Peer:
    """The teacher as it is downloaded."""
    name = "llama.cpp, Q4_1 teacher"
    try:
        return bench.run(name, gguf)
    except NotRunError as reason:
        return not_run(name, reason)


def random_tq2_0(bench: LlamaBench, tokenizer: Path, scratch: Path) -> Iterator[Peer]:
    """Random ternary models of the widths that TQ2_0 allows beside the teacher's."""
    for shape in TQ2_0_SHAPES:
        name = f"llama.cpp, random TQ2_0, width {shape.width}"
        try:
            yield _random(bench, name, shape, tokenizer, scratch)
        except NotRunError as reason:
            yield not_run(name, reason)


def _random(bench: LlamaBench, name: str, shape: Shape, tokenizer: Path, scratch: Path) -> Peer:
    bench.program("llama-bench")
    wide, small = scratch / "random-f16.gguf", scratch / "random-tq2_0.gguf"
    write_random_llama(wide, shape, tokenizer=tokenizer)
    bench.quantise(wide, small, "TQ2_0")
    wide.unlink()
    peer = bench.run(name, small)
    small.unlink()
    return replace(peer, note=f"{peer.note}, {shape.macs / 1e6:.0f} M products a token")
