"""A run of seconds through all that training does, on whatever device and processes there are."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import LlamaForCausalLM

from asnn_goose.recipe import build_run
from asnn_goose.recipe.load import check_recipe
from asnn_goose.teachers.lab_teacher import END_OF_TEXT, lab_config, train_tokenizer
from asnn_goose.train.loop import run
from asnn_goose.train.progress import StepInfo
from asnn_goose.train.run_errors import RunInterrupted

STAGES: dict[str, dict[str, Any]] = {
    "align": {"train": "mixers", "losses": ["attention_output", "minilm"]},
    "align_blocks": {"train": "blocks", "losses": ["attention_output", "mlp_output"]},
    "replace": {"train": "mixers", "losses": ["kl"], "replacing": {"share": [0.5, 1.0]}},
    "distill": {
        "train": "all",
        "losses": ["kl", "ce", "hidden", "cka"],
        "precision": {"*": {"planes": 1, "steps": 1}},
    },
    "pretrain": {"train": "all", "losses": ["ce"], "average": {"since": 0.0}},
    "sft": {"train": "all", "losses": ["ce", "kl"], "examples": True},
    "dpo": {"train": "body", "losses": ["dpo", "ce"], "examples": True},
    "gkd": {
        "train": "all",
        "losses": ["jsd"],
        "examples": True,
        "samples": {"share": 1.0, "tokens": 4},
    },
    "equilibrium": {
        "train": "all",
        "losses": ["kl", "hidden"],
        "precision": {"*": {"neuron": "spikingbert", "steps": 4, "code": "rate"}},
        "time_steps": 5,
    },
    "slide": {
        "train": "blocks",
        "losses": ["block_output"],
        "precision": {"*": {"planes": 1, "steps": 3}},
        "span": 2,
    },
    "calibrate_blocks": {
        "train": "scales",
        "losses": ["block_output"],
        "precision": {"*": {"planes": 2, "steps": 2, "code": "rate", "neuron": "gif"}},
    },
}
"""What a stage of each kind trains here, and on which losses; `examples` where it reads some."""

STEPS, WINDOW, BATCH = 2, 16, 2
BREAK = 3
"""Step of the run that a signal interrupts: in the middle of the second stage."""

IN_PARTS = ("align", "distill")
"""Stages that several processes then train with the student in parts."""

BYTES = 256


class _Watcher:
    """Counts steps, passes messages on, and sends this process a signal after one of the steps."""

    def __init__(self, tell: Callable[[str], None], *, until: int = 0) -> None:
        self.tell, self.until, self.steps = tell, until, 0

    def on_step(self, info: StepInfo) -> None:
        self.steps += 1
        if info.run_step == self.until:
            # A real signal, so that saving, ending and resuming are what they are in a run.
            signal.raise_signal(signal.SIGTERM)
        if info.step == info.steps:
            self.tell(f"{info.stage}: loss {info.loss:.3g}, {info.tokens_per_s:.0f} tokens/s")

    def on_message(self, text: str) -> None:
        """Only what a stage came to is worth a line here."""


def smoke(tell: Callable[[str], None], *, precision: str = "fp32") -> int:
    """Train a tiny student in stages of every kind, break the run off, and resume it.

    Several processes train another one in parts; `precision` is that of the passes. Every process
    calls it; `tell` hears of the main one. Returns the steps that were made, 0 in the others. What
    goes wrong is raised as it is.
    """
    state = Accelerator(mixed_precision="no")
    with tempfile.TemporaryDirectory(prefix="asnn-goose-deep-") as own:
        # The main process's for all: a run has one folder.
        folder = Path(gather_object([own])[0])
        if state.is_main_process:
            _write_teacher(folder)
        state.wait_for_everyone()
        watchers = [_Watcher(tell, until=BREAK), _Watcher(tell), _Watcher(tell)]
        whole = _recipe(folder, state.num_processes, kinds=STAGES)
        whole["train"]["precision"] = precision
        try:
            _train(whole, folder / "run", watchers[0], resume=False)
        except RunInterrupted:
            _train(whole, folder / "run", watchers[1], resume=True)
        if state.num_processes > 1:
            parts = _recipe(folder, state.num_processes, kinds=IN_PARTS, shard=True)
            _train(parts, folder / "parts", watchers[2], resume=False)
        state.wait_for_everyone()
    return sum(watcher.steps for watcher in watchers)


def _train(recipe: dict[str, Any], out: Path, watcher: _Watcher, *, resume: bool) -> None:
    plan = build_run(check_recipe(recipe, source="doctor --deep"), tell=lambda text: None)
    run(plan, out=out, resume=resume, progress=watcher)


def _recipe(
    folder: Path, processes: int, *, kinds: Iterable[str], shard: bool = False
) -> dict[str, Any]:
    tokens = STEPS * WINDOW * BATCH * processes
    shared = {"tokens": tokens, "window": WINDOW, "batch": BATCH, "lr": 1e-3}
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        row, name = STAGES[kind], f"{kind} in parts" if shard else kind
        examples = [str(folder / "examples.jsonl")] if row.get("examples") else []
        losses = [{"name": name} for name in row["losses"]]
        own = {"losses": losses, "examples": examples, "name": name}
        rows.append({"kind": kind, **shared, **row, **own})
        rows[-1]["tokens"] *= 2 if kind == "dpo" else 1  # a pair has two answers
    return {
        "name": "deep",
        "teacher": [{"model": str(folder / "teacher")}],
        "data": {"train": [str(folder / "text.txt")]},
        "train": {"shard": shard},
        "stage": rows,
    }


def _write_teacher(folder: Path) -> None:
    """A teacher of two layers that has learned nothing, and a text of numbers."""
    lines = (f"Goose {n} flew over {n * n} lakes and {n % 7} hills.\n\n" for n in range(2000))
    text = "".join(lines)
    (folder / "text.txt").write_text(text, "utf-8")
    records = (
        {"prompt": f"{n}?", "completion": "yes", "chosen": f"{n * n}", "rejected": "no"}
        for n in range(40)
    )
    lines = (json.dumps(record) + "\n" for record in records)
    (folder / "examples.jsonl").write_text("".join(lines), "utf-8")
    words = BYTES + len([END_OF_TEXT])
    train_tokenizer([text], vocabulary=words).save_pretrained(folder / "teacher")
    # A fixed teacher: what fails here must fail again.
    torch.manual_seed(0)
    config = lab_config(layers=2, vocabulary=words)
    LlamaForCausalLM(config).save_pretrained(folder / "teacher")
