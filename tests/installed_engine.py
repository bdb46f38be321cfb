"""Whether an installed wheel runs a student: `generate`, `serve`, and on which instruction set.

For an environment with the engine-only install; needs nothing but it, and no compiler. Packs a
small random student with numpy alone, so that no weights have to be fetched.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from asnn_goose import _native
from asnn_goose.format.packed import write_packed
from asnn_goose.shape.settings import MODEL_TYPE, settings_of
from asnn_goose.shape.slots import HEAD, MatrixSlot, VectorSlot
from asnn_goose.shape.student import layout

SHAPE = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
SHAPE |= {"head_size": 64, "intermediate_size": 128}


def main() -> None:
    assert find_spec("torch") is None, "the engine-only install has no torch"
    print("instruction sets:", ", ".join(_native.isas()), "- in use:", _native.isa())
    with tempfile.TemporaryDirectory() as scratch:
        student = make_student(Path(scratch) / "goose")
        words = command("generate", str(student), "A goose", "--tokens", "20", "--seed", "1")
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert said.stdout.startswith("A goose"), said.stdout
        served(student)
    print("generate and serve work")


def make_student(folder: Path) -> Path:
    """A packed student with random weights and a tokenizer of bytes."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), SHAPE["vocab_size"]
    ranks = {f"{name}_rank": 32 for name in ("decay", "rate", "value", "gate")}
    known = settings_of({"mixer": "rwkv7", "mlp": "channel_mix"})
    config = {name: setting.default for name, setting in known.items()} | SHAPE | ranks
    config |= {"mixer": "rwkv7", "mlp": "channel_mix", "model_type": MODEL_TYPE}
    config["eos_token_id"] = rows - 1
    tensors = {}
    for slot in layout(config):
        if isinstance(slot, VectorSlot):
            tensors[slot.name] = random.normal(0.5, 0.2, slot.shape).astype(np.float32)
        elif isinstance(slot, MatrixSlot) and (slot.name != HEAD or not slot.optional):
            weight = random.normal(0, slot.columns**-0.5, (slot.rows, slot.columns))
            tensors[f"{slot.name}.weight"] = weight.astype(np.float16)
    write_packed(folder, config, tensors, {})
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"<{n}>" for n in range(1, rows - len(letters))), "<|endoftext|>"]
    core = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.save(str(folder / "tokenizer.json"))
    return folder


def served(student: Path) -> None:
    """Ask a server for ten tokens."""
    words = command("serve", str(student), "--port", "0")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = next(
                found[0]
                for line in server.stderr
                if (found := re.search(r"http://[\d.:]+/", line)) is not None
            )
            body = json.dumps({"prompt": "A goose", "max_tokens": 10}).encode()
            asked = urllib.request.Request(
                f"{address}v1/completions", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(asked, timeout=60) as answer:
                usage = json.load(answer)["usage"]
            assert usage["completion_tokens"] >= 1, usage
        finally:
            server.terminate()


def command(*words: str) -> list[str]:
    call = "import sys; from asnn_goose.cli import app; sys.argv[0] = 'asnn-goose'; app()"
    return [sys.executable, "-c", call, *words]


if __name__ == "__main__":
    main()
