"""Damaged files for every reader in Python: each is read, or refused in words.

    python -m tests.campaign.fuzz_readers [--files 2000] [--seed 0] [--only NAME ...]

A sound file is damaged in a few places: bits, bytes, stretches cut out, doubled or moved from
elsewhere, numbers and words put in the place of others. What a reader raises then must be one of
the errors that a command says in a line (cli.expected_errors); anything else, and whatever takes
longer than ten seconds, is a fault, named by its number and the seed that make it again.
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
import torch
from tests.campaign.inputs import recipe, recipes, write_teacher

from asnn_goose.cli.expected_errors import is_expected
from asnn_goose.format.record_file import RecordFolder

SLOW_S = 10.0

ODD = (
    *(b"0", b"-1", b"1e999", b"nan", b"null", b"true", b"[]", b"{}", b'""', b"[[[[", b"\xff\xfe"),
    *(b"9" * 30, b"\0", b"\n", b'"', b"\\ud800", b"../" * 3, b"%s", b"\xed\xa0\x80"),
)
"""What is put in the place of something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A kind of file: its name, a sound one, and what reads it."""

    name: str
    sound: bytes
    read: Callable[[Path], object]


def damaged(sound: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four faults."""
    data = bytearray(sound)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        length = chance.choice([1, 2, 8, 64, 1024])
        kind = chance.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place : place + chance.choice([0, 1, 4])] = chance.choice(ODD)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        elif kind == 4:
            other = chance.randrange(len(data) + 1)
            data[place : place + length] = data[other : other + length]
        else:
            data[place : place + length] = chance.randbytes(min(length, 64))
    return bytes(data) if chance.random() < 0.95 else bytes(data[: chance.randrange(len(data) + 1)])


def readers(folder: Path) -> Iterator[Reader]:
    """Every reader with a sound file of its kind, which is made in `folder`."""
    yield from _tables(folder)
    yield from _texts(folder)
    yield from _models(folder)
    yield _gguf(folder)


def _tables(folder: Path) -> Iterator[Reader]:
    import tomli_w

    from asnn_goose.recipe import load_recipe
    from asnn_goose.report.run_files import read_run

    tables = [recipe(folder, name, stages) for name, stages in recipes().items()]
    for table in (max(tables, key=lambda one: len(tomli_w.dumps(one))), tables[0]):
        yield Reader(name="recipe.toml", sound=tomli_w.dumps(table).encode(), read=load_recipe)
    step = {
        **{"stage": "a", "stage_index": 0, "step": 1, "steps": 2, "terms": {"kl": 1.0}},
        **{"lr": 1e-3, "grad_norm": 1.0, "tokens_seen": 10, "tokens_total": 20, "loss": 1.0},
        **{"seconds": 1.0, "memory_bytes": 5, "tokens_per_s": 3.0, "run_step": 1, "stages": 1},
    }
    lines = (json.dumps(step) + "\n").encode() * 3
    yield Reader(name="metrics.jsonl", sound=lines, read=lambda file: read_run(file.parent))


def _texts(folder: Path) -> Iterator[Reader]:
    import pyarrow as pa
    from pyarrow import parquet

    from asnn_goose.data.own_text import read_own
    from asnn_goose.data.records import read_records

    def own(file: Path) -> object:
        return list(read_own(file, "all"))

    lines = "".join(json.dumps({"text": f"Goose {n} flew. " * 9}) + "\n" for n in range(9))
    yield Reader(name="own.jsonl", sound=lines.encode(), read=own)
    yield Reader(name="own.txt", sound=lines.encode(), read=own)
    parquet.write_table(pa.table({"text": ["Goose " * 20] * 9}), folder / "own.parquet")
    yield Reader(name="own.parquet", sound=(folder / "own.parquet").read_bytes(), read=own)
    asked = json.dumps({"messages": [{"role": "user", "content": "?"}] * 2}) + "\n"
    yield Reader(
        name="examples.jsonl", sound=asked.encode() * 5, read=lambda file: list(read_records(file))
    )


def _models(folder: Path) -> Iterator[Reader]:
    from asnn_goose.export.compact import compact_teacher, restored, write_compact
    from asnn_goose.infer.state_file import read_state, write_state
    from asnn_goose.infer.text import read_vocabulary
    from asnn_goose.model import GooseConfig, GooseForCausalLM

    write_teacher(folder / "teacher")
    words = (folder / "teacher" / "tokenizer.json").read_bytes()
    settings = {"vocab_size": 258, "eos_token_id": None, "bos_token_id": None}
    yield Reader(
        name="tokenizer.json",
        sound=words,
        read=lambda file: read_vocabulary(file.parent, settings).prompt_ids("Goose 7"),
    )
    config = GooseConfig(
        **{"vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
        **{"num_attention_heads": 1, "head_size": 16, "precision": {"*": {"planes": 1}}},
    )
    student = GooseForCausalLM(config)
    embedding_VD = student.embedding.weight.detach()
    small = folder / "small.safetensors"
    write_compact(student, small, teacher="t", embedding_VD=embedding_VD)
    yield Reader(
        name="compact.safetensors",
        sound=small.read_bytes(),
        read=lambda file: (compact_teacher(file), restored(file, embedding_VD=embedding_VD)),
    )
    write_state(folder / "a.state", bytes(100), {"model": "x"})
    yield Reader(
        name="a.state",
        sound=(folder / "a.state").read_bytes(),
        read=lambda file: read_state(file, fits={"model": "x"}),
    )
    records = RecordFolder(folder / "records", about="", tell=lambda text: None)
    for number in range(9):
        records.put(bytes([number] * 16), np.arange(number * 9).tobytes())
    yield Reader(
        name="a.records",
        sound=next((folder / "records").glob("*.records")).read_bytes(),
        read=lambda file: _every_record(file.parent),
    )


def _gguf(folder: Path) -> Reader:
    import gguf

    from asnn_goose.model.gguf_file import _config

    writer = gguf.GGUFWriter(folder / "a.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "<|end|>"])
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    sound = (folder / "a.gguf").read_bytes()
    return Reader(name="a.gguf", sound=sound, read=lambda file: _config(file, name="a"))


def _every_record(folder: Path) -> list[bytes | None]:
    found = RecordFolder(folder, about="", tell=lambda text: None)
    return [found.get(bytes([number] * 16)) for number in range(9)]


def outcome(reader: Reader, file: Path) -> str:
    """What became of a file: "read", "refused", or what was wrong."""
    # Of the processor: beside other work a quick reader takes long, too.
    began = time.process_time()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            reader.read(file)
        found = "read"
    except Exception as error:
        found = "refused" if is_expected(error) else f"{type(error).__name__}: {error}"
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        found = f"{type(error).__name__}: {error}"
    return "too slow" if time.process_time() - began > SLOW_S else found


def fuzz(reader: Reader, folder: Path, *, files: int, seed: int) -> Counter[str]:
    """Outcomes of so many damaged files, written to `folder` one after the other."""
    counts: Counter[str] = Counter()
    file = folder / reader.name
    for number in range(files):
        file.write_bytes(damaged(reader.sound, random.Random(f"{seed} {reader.name} {number}")))
        found = outcome(reader, file)
        counts[found] += 1
        if found not in ("read", "refused"):
            print(f"{reader.name} {number} of seed {seed}: {found}", file=sys.stderr, flush=True)
    return counts


def main() -> int:
    """Exit code 1 where a reader raised anything but words, or took too long."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="goose-fuzz-") as own:
        for reader in readers(Path(own)):
            if options.only and reader.name not in options.only:
                continue
            place = Path(tempfile.mkdtemp(dir=own))
            counts: Counter[Any] = fuzz(reader, place, files=options.files, seed=options.seed)
            print(f"{reader.name}\t{dict(counts)}", flush=True)
            bad += sum(counts.values()) - counts["read"] - counts["refused"]
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
