"""From a teacher to a student that chats: distilled, tuned on answers, then on preferences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from asnn_goose.cli import app

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

STAGES = """
[[stage]]
kind = "distill"
train = "all"
tokens = 128
window = 64
batch = 2
lr = 1e-3
losses = [{{ name = "kl" }}]

[[stage]]
kind = "sft"
train = "all"
examples = ["{talk}"]
tokens = 1024
window = 128
batch = 2
lr = 1e-3
losses = [{{ name = "ce" }}]
end = {{ by = "validation", every = 4, patience = 9, tokens = 256 }}

[[stage]]
kind = "dpo"
train = "body"
examples = ["{pairs}"]
tokens = 2048
window = 128
batch = 2
lr = 1e-3
losses = [{{ name = "dpo", beta = 0.5, label_smoothing = 0.1 }}, {{ name = "ce", weight = 0.1 }}]
end = {{ by = "validation", every = 4, patience = 9, tokens = 512 }}

[[stage]]
kind = "gkd"
train = "all"
examples = ["{talk}"]
tokens = 512
window = 128
batch = 2
lr = 1e-4
losses = [{{ name = "jsd", beta = 0.5 }}]
samples = {{ share = 1.0, tokens = 12 }}
"""


@pytest.fixture
def instruct_file(recipe_file: Path, teacher_dir: Path, tmp_path: Path) -> Path:
    """The recipe of a tiny teacher with a chat template, in four stages."""
    teacher = tmp_path / "instruct"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    LlamaForCausalLM(config).save_pretrained(teacher)
    tokenizer = AutoTokenizer.from_pretrained(teacher_dir)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(teacher)
    talk, pairs = tmp_path / "talk.jsonl", tmp_path / "pairs.jsonl"
    talk.write_text("".join(json.dumps(record) + "\n" for record in conversations()))
    pairs.write_text("".join(json.dumps(record) + "\n" for record in preferences()))
    head = recipe_file.read_text().partition("[[stage]]")[0]
    head = head.replace(str(teacher_dir), str(teacher))
    recipe_file.write_text(head + STAGES.format(talk=talk, pairs=pairs))
    return recipe_file


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def conversations() -> list[dict[str, Any]]:
    return [
        {"messages": [message("user", f"{n} geese?"), message("assistant", f"I see {n}. " * 3)]}
        for n in range(200)
    ]


def preferences() -> list[dict[str, Any]]:
    return [
        {"prompt": f"{n} geese? ", "chosen": f"{n} fly.", "rejected": "xzxz" * (n % 3 + 1)}
        for n in range(200)
    ]


def lines(folder: Path, stage: str) -> list[dict[str, Any]]:
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in found if line["stage"] == stage]


def test_a_student_is_distilled_tuned_and_chats(
    runner: CliRunner, instruct_file: Path, tmp_path: Path
) -> None:
    dry = runner.invoke(app, ["distill", str(instruct_file), "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "# sft: 18" in dry.output
    assert "all within the window" in dry.output
    out = tmp_path / "run"
    done = runner.invoke(app, ["distill", str(instruct_file), "--out", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "sft: 18" in done.output
    tuned = lines(out, "sft")
    assert tuned[-1]["readings"]["validation.ce"] < tuned[0]["readings"]["before.ce"]
    preferred = lines(out, "dpo")
    assert abs(preferred[0]["readings"]["pairs.margin"]) < 1e-4
    assert preferred[-1]["readings"]["validation.accuracy"] > 0.8
    assert preferred[-1]["readings"]["pairs.margin"] > 0.02
    assert 0 < lines(out, "gkd")[0]["readings"]["gkd.length"] <= 12
    chat = runner.invoke(app, ["chat", str(out), "--tokens", "4"], input="Hello\n")
    assert chat.exit_code == 0, chat.output


def test_a_teacher_and_a_student_answer_and_a_file_that_was_broken_off_goes_on(
    runner: CliRunner, instruct_file: Path, student_dir: Path, tmp_path: Path
) -> None:
    words = ["teacher", "answer", str(tmp_path / "instruct")]
    words += ["--examples", str(tmp_path / "talk.jsonl"), "--against", str(student_dir)]
    words += ["--count", "10", "--batch", "4", "--tokens", "5", "--quiet", "--out"]
    out, other = tmp_path / "made.jsonl", tmp_path / "other.jsonl"
    whole = runner.invoke(app, [*words, str(out)])
    assert whole.exit_code == 0, whole.output
    assert "10 records" in whole.output
    lines = out.read_bytes().splitlines(keepends=True)
    written = [json.loads(line) for line in lines]
    assert all(set(record) == {"prompt", "chosen", "rejected"} for record in written)
    assert len({record["rejected"][0]["content"] for record in written}) > 5
    assert {record["prompt"][0]["role"] for record in written} == {"user"}
    (tmp_path / ".other.jsonl.part").write_bytes(b"".join(lines[:5]))
    out.with_suffix(".settings.json").rename(tmp_path / "other.settings.json")
    again = runner.invoke(app, [*words, str(other), "--resume"])
    assert again.exit_code == 0, again.output
    assert other.read_bytes() == out.read_bytes()
