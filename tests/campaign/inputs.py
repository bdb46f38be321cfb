"""What the commands of the campaign read: a teacher of two layers, a text, examples, recipes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import tomli_w

from asnn_goose.study.smoke import STAGES

STEPS, WINDOW, BATCH = 3, 16, 2

WHEEL, VERSION = "campaign_text", "1.0"

SPIKING: dict[str, Any] = {
    "kind": "distill",
    "train": "body",
    "losses": [{"name": "kl"}],
    "precision": {"*": {"planes": 1, "steps": 1}},
}
CURRICULUM: dict[str, Any] = {
    "kind": "distill",
    "train": "all",
    "losses": [{"name": "kl"}, {"name": "ce"}],
    "curriculum": {"preset": "seed", "pool": 8 * WINDOW},
}


NAMES = ("campaign_one", "campaign_two")
"""Corpora of that package (corpora.py)."""


def paragraphs(count: int) -> list[str]:
    return [f"Goose {n} flew over {n * n} lakes and {n % 7} hills." for n in range(count)]


def write_inputs(folder: Path) -> None:
    """Everything but the students, which `distill` itself makes."""
    (folder / "text.txt").write_text("\n\n".join(paragraphs(2000)), "utf-8")
    write_examples(folder / "examples.jsonl")
    write_teacher(folder / "teacher")
    write_wheel(folder / "wheels")
    for name, stages in recipes().items():
        text = tomli_w.dumps(recipe(folder, name, stages))
        (folder / f"{name}.toml").write_text(text, "utf-8")
    (folder / "grid.toml").write_text(
        f'name = "grid"\nbase = "align.toml"\nseeds = [0]\n'
        f'eval = {{ on = ["{folder / "text.txt"}"], tokens = 640, window = 64 }}\n'
        'cell = [{ name = "control" }, { name = "higher", set = ["stage.0.lr=2e-3"] }]\n',
        "utf-8",
    )


def write_examples(file: Path) -> None:
    """Questions with an answer, and with a better and a worse one."""
    records = (
        {"prompt": f"{n}?", "completion": "yes", "chosen": f"{n * n}", "rejected": "no"}
        for n in range(40)
    )
    file.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")


def recipes() -> dict[str, list[dict[str, Any]]]:
    """The stages of every recipe: each kind by itself, and what begins a stage in other ways."""
    found = {kind: [{"kind": kind, **row}] for kind, row in STAGES.items()}
    found["two_stages"] = [*found["align"], *found["distill"]]
    found["calibrated"] = [{**SPIKING, "calibrate": 64, "balance": 64}]
    found["curriculum"] = [CURRICULUM]
    found["cached"] = [{"kind": "distill", "train": "all", "losses": [{"name": "kl"}]}]
    found["spiking"] = [SPIKING]
    found["dense"] = [{"kind": "distill", "train": "body", "losses": [{"name": "kl"}]}]
    return found


def recipe(folder: Path, name: str, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """One recipe as a table: every step leaves a checkpoint and a line."""
    shared = {"tokens": STEPS * WINDOW * BATCH, "window": WINDOW, "batch": BATCH, "lr": 1e-3}
    rows = []
    for stage in stages:
        row = {**shared, **stage}
        row["losses"] = [{"name": x} if isinstance(x, str) else x for x in row["losses"]]
        if row.get("examples"):
            row["examples"] = [str(folder / "examples.jsonl")]
        row["tokens"] *= {"dpo": 2}.get(row["kind"], 4 if name == "curriculum" else 1)
        rows.append(row)
    teacher: dict[str, Any] = {"model": str(folder / "teacher")}
    text = [str(folder / "text.txt")]
    data: dict[str, Any] = {"train": text, "out_of_domain": text, "decontaminate": []}
    if name == "cached":
        teacher["cache"] = {"top": 8}
        data["windows"] = "fixed"
    # What llama.cpp can hold.
    student = {"rope": False, "group_norm": False} if name == "dense" else {}
    return {
        "name": name,
        "student": student,
        "teacher": [teacher],
        "data": data,
        "train": {"checkpoint_minutes": 0.0, "threads": 1},
        "log": {"every": 1},
        "stage": rows,
    }


def write_teacher(folder: Path, *, more: tuple[str, ...] = ()) -> None:
    """A random Llama of two layers; its words are the bytes, an end of text, and `more`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # One merge, for llama.cpp takes no tokenizer without.
    words = {text: number for number, text in enumerate([*letters, "Go"])}
    core = Tokenizer(models.BPE(vocab=words, merges=[("G", "o")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|endoftext|>", *more])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words) + 1 + len(more),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=len(words),
        bos_token_id=len(words),
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def write_wheel(folder: Path) -> None:
    folder.mkdir()
    about = f"{WHEEL}-{VERSION}.dist-info"
    files = {
        f"{WHEEL}/text.txt": "\n".join(paragraphs(600)),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {WHEEL}\nVersion: {VERSION}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{WHEEL}-{VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
