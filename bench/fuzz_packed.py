"""Damaged packed models: every one is refused with PackedError, or is a model that runs.

    python bench/fuzz_packed.py [--files 3000] [--seed 0] [--engine native|reference]

Small sound models are damaged in one or two places: flipped bits, truncation, headers with other
shapes, types, offsets, names or metadata, headers of another model, poisoned numbers, other
configurations. In half of the cases the checksum is put right again, so that the checks behind it
are met too. With `--engine` three tokens run through whatever is accepted.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.sound_packed import OTHERS, TINY, sound

from asnn_goose.format.packed import CONFIG, WEIGHTS, PackedError, checksum, read_packed
from asnn_goose.format.packed import write_packed as write_sound

ODD_VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 3, -1, 63, 65, 1 << 31, 1 << 40, 1 << 63, 1 << 64, 10**30),
    *(1.5, float("nan"), float("inf"), 1e-300, True, False, None),
    *("", "8", "F32", "radix2", "\ud800", [], [1], [[[]]], {}, {"steps": 1}),
)


@dataclass
class Case:
    """A packed model taken apart, so that each piece can be damaged."""

    header: dict[str, Any]
    data: bytearray
    config: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Case:
        content = (folder / WEIGHTS).read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        config = json.loads((folder / CONFIG).read_text())
        return cls(json.loads(content[8:start]), bytearray(content[start:]), config)

    def write(self, folder: Path, *, repair: bool) -> None:
        """Put the pieces together again, with a right checksum where `repair` says so."""
        metadata = self.header.get("__metadata__")
        if repair and isinstance(metadata, dict):
            metadata["crc32"] = checksum(np.frombuffer(self.data, np.uint8))
        text = json.dumps(self.header).encode()
        text += b" " * (-(8 + len(text)) % 64)
        (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + self.data)
        (folder / CONFIG).write_text(json.dumps(self.config))

    def tensor(self, chance: random.Random) -> dict[str, Any]:
        entry = self.header[chance.choice([n for n in self.header if n != "__metadata__"])]
        return entry if isinstance(entry, dict) else {}


def flip(content: bytearray, chance: random.Random) -> None:
    """One to eight flipped bits."""
    for _ in range(chance.randint(1, 8) if content else 0):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def flip_data(case: Case, chance: random.Random) -> None:
    """Flipped bits in the data."""
    flip(case.data, chance)


def overwrite(case: Case, chance: random.Random) -> None:
    """Random bytes, or those of NaN and infinity, over a stretch of the data."""
    start = 4 * chance.randrange(max(len(case.data) // 4, 1))
    filling = chance.choice([b"\xff" * 4, b"\x00\x00\x80\x7f", chance.randbytes(64), b"\x80"])
    case.data[start : start + len(filling)] = filling[: len(case.data) - start]


def resize(case: Case, chance: random.Random) -> None:
    """Data cut short, or with something behind them."""
    if chance.random() < 0.5:
        del case.data[chance.randrange(len(case.data) + 1) :]
    else:
        case.data += chance.randbytes(chance.randint(1, 200))


def change_entry(case: Case, chance: random.Random) -> None:
    """Another dtype, shape or place of a tensor."""
    entry = case.tensor(chance)
    key = chance.choice(["dtype", "shape", "data_offsets", "more"])
    if key == "dtype":
        entry[key] = chance.choice(["F16", "F32", "I8", "U8", "U64", 3, None, ["F16"]])
    elif isinstance(entry.get(key), list) and entry[key] and chance.random() < 0.8:
        entry[key][chance.randrange(len(entry[key]))] = chance.choice(ODD_VALUES)
    elif isinstance(entry.get("shape"), list) and chance.random() < 0.5:
        entry["shape"] = chance.choice([entry["shape"][::-1], [1, *entry["shape"]]])
    else:
        entry[key] = chance.choice(ODD_VALUES)


def swap_names(case: Case, chance: random.Random) -> None:
    """Two tensors under each other's names; one missing; one under a new name."""
    one, other = chance.sample([n for n in case.header if n != "__metadata__"], 2)
    kind = chance.randrange(3)
    if kind == 0:
        case.header[one], case.header[other] = case.header[other], case.header[one]
    elif kind == 1:
        del case.header[one]
    else:
        case.header[
            chance.choice(["x", "", "\ud800", one + ".scale", one + ".groups", one + ".bias"])
        ] = case.header.pop(one)


def change_metadata(case: Case, chance: random.Random) -> None:
    """Another format, version, or table of matrices."""
    metadata = case.header["__metadata__"]
    if not isinstance(metadata, dict) or chance.random() < 0.1:
        case.header["__metadata__"] = chance.choice(ODD_VALUES)
        return
    key = chance.choice([*metadata, "matrices", "matrices"])
    metadata[key] = chance.choice([*ODD_VALUES, "{}", "[" * 50000, "2", "{"])
    if key == "matrices" and chance.random() < 0.7:
        table = {"blocks.0.mlp.down": {"steps": 1, "code": "rate", "rotate": False}}
        others = ("lm_head", "embedding", "blocks.0.mixer.gate.up", "blocks.0.mixer.k", "x")
        name = chance.choice([*table, *others])
        entry = {"steps": chance.choice([1, 2, 4]), "code": "radix3", "rotate": False}
        entry[chance.choice(["steps", "code", "rotate", "y"])] = chance.choice(ODD_VALUES)
        metadata[key] = json.dumps(table | {name: entry})


def change_config(case: Case, chance: random.Random) -> None:
    """Another value of a setting, or none."""
    key = chance.choice(list(case.config))
    if chance.random() < 0.1:
        del case.config[key]
        return
    words = ("relu", "gelu", "gated", "channel_mix", "layer", "rms", "none", "sigmoid")
    case.config[key] = chance.choice([*ODD_VALUES, *words])


def flip_file(folder: Path, chance: random.Random) -> None:
    """Flipped bits in one of the two files: its first 8 bytes, its header, or anywhere."""
    file = folder / chance.choice([WEIGHTS, CONFIG])
    content = bytearray(file.read_bytes())
    end = chance.choice([8, 4000, len(content)])
    head, rest = content[:end], content[end:]
    flip(head, chance)
    file.write_bytes(head + rest)


def cut_file(folder: Path, chance: random.Random) -> None:
    """One of the two files cut short, empty, or gone."""
    file = folder / chance.choice([WEIGHTS, CONFIG])
    content = file.read_bytes()
    file.write_bytes(content[: chance.choice([0, 5, 8, chance.randrange(len(content))])])
    if chance.random() < 0.1:
        file.unlink()


TAKEN_APART: tuple[Callable[[Case, random.Random], None], ...] = (
    flip_data,
    overwrite,
    resize,
    change_entry,
    change_entry,
    swap_names,
    change_metadata,
    change_config,
    change_config,
)
AS_FILES: tuple[Callable[[Path, random.Random], None], ...] = (flip_file, flip_file, cut_file)


def damaged(folder: Path, *, files: int, seed: int) -> Iterator[tuple[int, str]]:
    """Write one damaged model after the other into `folder`; yields number and what was done."""
    originals = list(_originals(folder))
    for number in range(files):
        chance = random.Random(f"{seed} {number}")
        case, other = (_copy(chance.choice(originals)) for _ in range(2))
        done = [chance.choice(TAKEN_APART) for _ in range(chance.randint(1, 2))]
        if chance.random() < 0.05:
            case.header = other.header
        for change in done:
            change(case, chance)
        case.write(folder, repair=chance.random() < 0.5)
        names = [change.__name__ for change in done]
        if chance.random() < 0.25:
            as_file = chance.choice(AS_FILES)
            as_file(folder, chance)
            names.append(as_file.__name__)
        yield number, " ".join(names)


def _originals(folder: Path) -> Iterator[Case]:
    for seed, changes in enumerate(OTHERS):
        config = TINY | changes
        write_sound(folder, config, *sound(config, seed, grouped=seed % 2 == 1))
        read_packed(folder)
        yield Case.read(folder)


def _copy(case: Case) -> Case:
    header, config = json.loads(json.dumps([case.header, case.config]))
    return Case(header, bytearray(case.data), config)


def run(folder: Path, *, engine: str | None) -> str:
    """What became of the model in `folder`: refused or accepted; any other error is raised."""
    try:
        model = read_packed(folder)
    except PackedError:
        return "refused"
    if engine is not None:
        from asnn_goose.infer.engine import Engine

        try:
            runs = Engine.load(model, 1, backend=engine)  # type: ignore[arg-type]
        except ValueError:
            return "refused by the engine"
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            logits = runs.prefill(runs.start(), [0, model.config["vocab_size"] - 1, 0])
        assert logits.shape == (model.config["vocab_size"],)
    return "accepted"


def main() -> None:
    """Damage, read, and count; any error but PackedError ends with the case's number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["native", "reference"])
    options = parser.parse_args()
    counts, start = Counter[str](), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        for number, done in damaged(Path(name), files=options.files, seed=options.seed):
            if options.engine:  # a crash would not say which one it was
                print(f"\r{number}", end="", file=sys.stderr, flush=True)
            try:
                counts[run(Path(name), engine=options.engine)] += 1
            except BaseException:
                print(f"\ncase {number} of seed {options.seed}: {done}", file=sys.stderr)
                raise
    rate = options.files / (time.perf_counter() - start)
    print(", ".join(f"{n} {what}" for what, n in sorted(counts.items())), f"({rate:.0f}/s)")


if __name__ == "__main__":
    main()
