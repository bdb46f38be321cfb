"""The control of a student with CE: the teacher tuned on the very windows that the student read."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from asnn_goose.model import TeacherError, load_teacher
from asnn_goose.recipe import build_run
from asnn_goose.recipe.load import check_recipe
from asnn_goose.recipe.teachers import load_teachers
from asnn_goose.teachers.tuned_teacher import TUNE, Tuning, tuning_plan
from asnn_goose.train.loop import run
from asnn_goose.train.plan import RunPlan
from asnn_goose.train.progress import Progress
from asnn_goose.train.run_errors import CheckpointError, RunInterrupted

SENTENCE = "the goose flies over quiet lake and old teacher writes a long letter home"
WORDS = SENTENCE.split()
VOCABULARY = {word: number for number, word in enumerate(["<|endoftext|>", "<unk>", *WORDS])}
SHAPE = {
    "vocab_size": len(VOCABULARY) + 3,  # padded, as many are
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


class Quiet:
    def on_step(self, info: object) -> None:
        pass

    def on_message(self, text: str) -> None:
        pass


class Interrupts(Quiet):
    """Asks for a stop after the third step, as Ctrl-C does."""

    def on_step(self, info: object) -> None:
        if info.step == 3:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGINT)


def write_tokenizer(folder: Path) -> None:
    core = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    folder = tmp_path / "teacher"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture
def tuning(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tuning:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(WORDS[i % 5 :] * 12) for i in range(80)))
    training = replace(TUNE, tokens=640, window=32, batch=2, lr=1e-2, seed=7, texts=(str(text),))
    return Tuning(model=str(teacher), training=training, threads=1)


def plan_of(tuning: Tuning) -> RunPlan:
    return tuning_plan(tuning, tell=lambda text: None)


def train(
    tuning: Tuning, out: Path, *, resume: bool = False, progress: Progress | None = None
) -> Path:
    return run(plan_of(tuning), out=out, resume=resume, progress=progress or Quiet())


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_is_a_teacher_in_fp32(tuning: Tuning, tmp_path: Path) -> None:
    before = load_teacher(tuning.model).model.state_dict()
    model = train(tuning, tmp_path / "run")
    steps = lines(tmp_path / "run")
    assert len(steps) == tuning.training.steps == 10
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.3
    tuned = load_teacher(str(model))
    assert tuned.model.dtype == torch.float32
    assert tuned.tokenizer is not None
    assert tuned.tokenizer.get_vocab() == VOCABULARY
    after = tuned.model.state_dict()
    assert {name for name in before if torch.equal(before[name], after[name])} == set()
    assert json.loads((model / "config.json").read_text())["dtype"] == "float32"


def recipe_of(tuning: Tuning, teacher: str) -> dict[str, object]:
    """A recipe whose last stage has the seed, texts, window and batch of a tuning."""
    training = tuning.training
    first = {
        "kind": "align",
        "train": "mixers",
        "tokens": 64,
        "window": 16,
        "batch": 1,
        "lr": 1e-3,
        "losses": [{"name": "attention_output"}],
    }
    last = {
        "kind": "distill",
        "train": "all",
        "tokens": training.tokens,
        "window": training.window,
        "batch": training.batch,
        "lr": 1e-3,
        "seed": training.seed,
        "losses": [{"name": "kl"}, {"name": "ce"}],
    }
    return {
        "name": "tiny",
        "seed": 3,
        "teacher": [{"model": teacher}],
        "student": {"head_size": 8},
        "data": {"train": list(training.texts)},
        "stage": [first, last],
    }


def test_its_windows_are_those_of_a_recipes_stage(tuning: Tuning) -> None:
    recipe = check_recipe(recipe_of(tuning, tuning.model), source="a.toml")
    stage = build_run(recipe, tell=lambda text: None).stages[-1]
    (own,) = plan_of(tuning).stages
    assert own.tokens == stage.tokens == 640
    for _ in range(3 * own.steps):  # past the end of an epoch
        ours, theirs = own.loader.next(0.0), stage.loader.next(0.0)
        assert torch.equal(ours.tokens_BT, theirs.tokens_BT)
        assert torch.equal(ours.labels_BT, theirs.labels_BT)
    other = plan_of(replace(tuning, training=replace(tuning.training, seed=8)))
    (first, again) = (plan.stages[0].loader.next(0.0) for plan in (other, plan_of(tuning)))
    assert not torch.equal(first.tokens_BT, again.tokens_BT)


def test_a_recipe_learns_from_it(tuning: Tuning, tmp_path: Path) -> None:
    model = train(tuning, tmp_path / "run")
    recipe = check_recipe(recipe_of(tuning, str(model)), source="a.toml")
    found = load_teachers(recipe, tell=lambda text: None)[0]
    assert found.name == str(model)


def test_it_is_resumed_bit_for_bit_and_only_with_its_own_settings(
    tuning: Tuning, tmp_path: Path
) -> None:
    whole = train(tuning, tmp_path / "whole")
    with pytest.raises(RunInterrupted):
        train(tuning, tmp_path / "cut", progress=Interrupts())
    assert len(lines(tmp_path / "cut")) < 10
    slower = replace(tuning, training=replace(tuning.training, lr=1e-3))
    with pytest.raises(CheckpointError, match=r"lr was 0\.01 when this run began and is 0\.001"):
        train(slower, tmp_path / "cut", resume=True)
    cut = train(tuning, tmp_path / "cut", resume=True)
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()


def test_bf16_stays_near_fp32(tuning: Tuning, tmp_path: Path) -> None:
    train(tuning, tmp_path / "fp32")
    train(replace(tuning, precision="bf16"), tmp_path / "bf16")
    for one, other in zip(lines(tmp_path / "fp32"), lines(tmp_path / "bf16"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": 512}, "tokens = 512: must be above 512, one step's"),
        ({"lr": 0.0}, r"lr = 0\.0: must be above 0"),
        ({"lr": float("inf")}, "lr = inf: must be above 0"),
    ],
)
def test_settings_that_train_nothing_are_named(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(TUNE, **changes)  # type: ignore[arg-type]


def test_a_window_beyond_learned_positions_is_named(tuning: Tuning, tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    with pytest.raises(TeacherError, match=r"window = 32: .* learned positions for 16"):
        plan_of(replace(tuning, model=str(folder)))
    short = replace(tuning.training, window=16)
    assert plan_of(replace(tuning, model=str(folder), training=short)).tokens == 640


def test_a_short_text_is_named(tuning: Tuning) -> None:
    long = replace(tuning.training, window=200_000, tokens=800_000)
    with pytest.raises(ValueError, match=r"text\.txt \(train\) has .* tokens"):
        plan_of(replace(tuning, training=long))


def test_it_learns_answers_as_a_student_does(tuning: Tuning, tmp_path: Path) -> None:
    """The first step's loss is that of a stage sft whose student is this very teacher."""
    file = tmp_path / "examples.jsonl"
    records = [
        {"prompt": f"{WORDS[n % 13]} {WORDS[n // 13]} a", "completion": f" {WORDS[n % 7]}"}
        for n in range(130)
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    training = replace(tuning.training, examples=(str(file),), texts=("missing.txt",), lr=1e-2)
    out = tmp_path / "run"
    plan = plan_of(replace(tuning, training=training))
    batch = plan.stages[0].loader.next(0.0)
    assert batch.documents_BT.max() > 3
    expected = float(plan.stages[0].stage(batch)["ce"].detach())
    train(replace(tuning, training=training), out)
    steps = lines(out)
    assert steps[0]["loss"] == pytest.approx(expected, rel=1e-4)
    readings = [step["readings"] for step in steps if "readings" in step]
    assert readings[-1]["validation.ce"] < readings[0]["before.ce"] - 0.1
    again = replace(training, examples=(str(file), str(file)))
    with pytest.raises(CheckpointError, match="examples"):
        train(replace(tuning, training=again), out, resume=True)
