"""Sound students as lines of text, the seeds of the fuzzer `model` and `config` (described.h).

    python -m tests.fuzz.seeds

Writes tests/fuzz/corpus; to be called again where a setting or a tensor is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.sound_packed import OTHERS, TINY, sound

from asnn_goose.format.mapped import code
from asnn_goose.infer.backend import flat

CORPUS = Path(__file__).with_name("corpus")
NAMES = ("plain", "channel_mix", "bare", "positions", "after")
SMALL = {"vocab_size": 6, "head_size": 16, "intermediate_size": 64, "num_attention_heads": 1}


def settings(config: dict[str, Any]) -> Iterator[str]:
    """A line for every setting that the engine sees."""
    for name, value in flat(config).items():
        if isinstance(value, bool):
            yield f"b {name} {int(value)}"
        elif isinstance(value, list):
            yield f"l {name} {' '.join(map(str, value))}"
        else:
            kind = {int: "i", float: "f", str: "w"}[type(value)]
            yield f"{kind} {name} {value}"


def student(config: dict[str, Any], seed: int) -> Iterator[str]:
    """A line for every setting, matrix and tensor."""
    arrays, matrices = sound(config, seed)
    yield from settings(config)
    for name, entry in matrices.items():
        yield f"m {name} {entry['steps']} {entry['code']} {int(entry['rotate'])}"
    for name, array in arrays.items():
        yield f"t {name} {code(array)} {' '.join(map(str, array.shape))}"


def main() -> None:
    for folder in ("config", "model", "state", "sampler"):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    for number, (name, changes) in enumerate(zip(NAMES, OTHERS, strict=True)):
        config = TINY | SMALL | changes
        (CORPUS / "model" / name).write_text("\n".join(student(config, number)) + "\n")
    text = "\n".join(settings(TINY | {"rope_thetas": [0.0, 100.0]})) + "\n"
    (CORPUS / "config" / "every").write_text(text)
    (CORPUS / "state" / "begun").write_bytes((3).to_bytes(8, "little") + bytes(2))
    drawn = bytes([0, 64, 5, 0, 192, 0, 16, 1, 2, 3, 128])
    (CORPUS / "sampler" / "six").write_bytes(drawn + b"\0\0\x80?" * 3 + b"\0\0\0@" * 3)


if __name__ == "__main__":
    main()
