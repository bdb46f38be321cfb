"""`eval`: the numbers, the protocol beside them, and what may not be compared."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.model import GooseForCausalLM


@pytest.fixture
def run_dir(tmp_path: Path, recipe_file: Path, student_dir: Path) -> Path:
    """A finished run, without the training."""
    folder = tmp_path / "run"
    shutil.copytree(student_dir, folder / "model")
    shutil.copy(recipe_file, folder / "recipe.toml")
    lines = [{"tokens_seen": 512, "seconds": 2.0}, {"tokens_seen": 1024, "seconds": 4.0}]
    metrics = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(metrics, encoding="utf-8")
    return folder


def evaluated(runner: CliRunner, *words: object) -> tuple[list[str], dict[str, Any]]:
    """Printed lines, and the JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new" / "scores.json"
        result = runner.invoke(app, ["eval", *map(str, words), "--json", str(file)])
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines(), json.loads(file.read_text())


def plain_nll(folder: Path, ids: list[int], window: int) -> float:
    """Summed in the most obvious way."""
    return summed(GooseForCausalLM.from_pretrained(folder), ids, window)


def plain_teacher_nll(folder: Path, ids: list[int], window: int) -> float:
    """The teacher's."""
    return pytest.approx(summed(LlamaForCausalLM.from_pretrained(folder), ids, window), rel=1e-5)


def summed(model: Any, ids: list[int], window: int) -> float:
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, window):
            part = torch.tensor(ids[start : start + window + 1])
            logits = model(input_ids=part[None, :-1]).logits[0].double()
            total += float(F.cross_entropy(logits, part[1:], reduction="sum"))
    return total


def test_a_file_is_scored_whole_and_once(
    runner: CliRunner, student_dir: Path, text_file: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    lines, content = evaluated(
        runner, student_dir, "--on", text_file, "--window", 100, "--tokens", "all"
    )
    ids = [*tokenizer(text_file.read_text())["input_ids"], tokenizer.eos_token_id]
    (row,) = content["measurements"]
    nll = plain_nll(student_dir, ids, 100)
    assert row["score"]["tokens"] == len(ids) - 1
    assert row["score"]["bytes"] == len(text_file.read_bytes()) - 1
    assert row["score"]["nll_sum"] == pytest.approx(nll, rel=1e-5)
    assert row["perplexity"] == pytest.approx(math.exp(nll / (len(ids) - 1)), rel=1e-5)
    assert row["bits_per_byte"] == pytest.approx(nll / math.log(2) / row["score"]["bytes"])
    assert content["ratios"] == {}
    assert not any("ratio" in line for line in lines)


def test_the_protocol_is_printed_and_written(
    runner: CliRunner, student_dir: Path, text_file: Path
) -> None:
    lines, content = evaluated(
        runner, student_dir, "--on", text_file, "--window", 50, "--tokens", "0.5k"
    )
    assert "window 50" in lines[0]
    assert "each token scored once" in lines[0]
    assert f"all of {text_file}" in lines[1]
    assert content["protocol"]["window"] == 50
    assert content["protocol"]["limit"] == 500
    assert content["protocol"]["threads"] == torch.get_num_threads()
    assert content["measurements"][0]["score"]["tokens"] == 500
    assert "torch" in content["protocol"]["versions"]


def test_what_stood_before_and_the_probes_are_told(
    runner: CliRunner, student_dir: Path, text_file: Path
) -> None:
    lines, content = evaluated(runner, student_dir, "--on", text_file, "--tokens", "0.5k")
    (row,) = content["measurements"]
    kinds = row["copying"]["by_kind"]
    assert sum(part["tokens"] for part in kinds.values()) == row["score"]["tokens"]
    nats = sum(part["nll_sum"] for part in kinds.values())
    assert nats == pytest.approx(row["score"]["nll_sum"])
    assert any(line.split()[:3] == ["nats", "model", "new"] for line in lines)
    shares = next(line.split() for line in lines if " share " in line)
    new = kinds["new"]["tokens"] / row["score"]["tokens"]
    assert f"{new:.0%}" in shares
    probed = content["probes"]["model"]
    assert f"{probed['repeated_loss']:.2f} nats" in next(line for line in lines if "twice" in line)


def test_a_run_brings_its_teacher_texts_and_protocol(
    runner: CliRunner, run_dir: Path, teacher_dir: Path, long_text_file: Path, text_file: Path
) -> None:
    lines, content = evaluated(runner, run_dir)
    assert content["models"] == {"teacher": str(teacher_dir), "student": str(run_dir)}
    assert content["texts"] == {
        "in-domain": [[str(long_text_file), "test"]],
        "out-of-domain": [[str(text_file), "all"]],
    }
    assert (content["protocol"]["window"], content["protocol"]["limit"]) == (64, 1000)
    assert content["protocol"]["seed"] == 3
    rows = {(row["text"], row["model"]): row for row in content["measurements"]}
    for text in ("in-domain", "out-of-domain"):
        teacher, student = rows[text, "teacher"], rows[text, "student"]
        assert teacher["score"]["tokens"] == student["score"]["tokens"] > 900
        ratio = student["perplexity"] / teacher["perplexity"]
        assert content["ratios"][text] == pytest.approx(ratio)
    assert "trained on 1,024 tokens in 4 s: 256 tokens/s" in lines
    assert lines[-2] == f"out-of-domain ratio {content['ratios']['out-of-domain']:.2f}"
    assert lines[-1] == f"ratio {content['ratios']['in-domain']:.2f}"


def test_a_mixture_is_scored_by_part_and_weighted(
    runner: CliRunner, run_dir: Path, long_text_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(long_text_file.read_text().replace("geese", "ducks, drakes and ducklings"))
    recipe = run_dir / "recipe.toml"
    train = f'train = ["{long_text_file}"'
    mixture = f'{train}, "{other}"], weights = [3, 1'
    recipe.write_text(recipe.read_text().replace(train, mixture))
    lines, content = evaluated(runner, run_dir, "--on", "in-domain")
    names = [f"in-domain/{long_text_file}", f"in-domain/{other}"]
    rows = {(row["text"], row["model"]): row for row in content["measurements"]}
    for model in ("teacher", "student"):
        nats = [math.log(rows[name, model]["perplexity"]) for name in names]
        mean = math.exp(0.75 * nats[0] + 0.25 * nats[1])
        assert rows["in-domain", model]["perplexity"] == pytest.approx(mean)
    assert content["shares"] == {"in-domain": [0.75, 0.25]}
    assert list(content["ratios"]) == ["in-domain", *names]
    assert lines[-1] == f"ratio {content['ratios']['in-domain']:.2f}"


def test_options_win_over_the_recipe(runner: CliRunner, run_dir: Path) -> None:
    words = ("--on", "validation", "--window", "32", "--tokens", "320", "--teacher", run_dir)
    lines, content = evaluated(runner, run_dir, *words)
    assert (content["protocol"]["window"], content["protocol"]["limit"]) == (32, 320)
    assert list(content["texts"]) == ["validation"]
    assert content["models"]["teacher"] == str(run_dir)
    assert lines[-1] == "ratio 1.00"


def test_a_model_beside_a_teacher(
    runner: CliRunner, student_dir: Path, teacher_dir: Path, text_file: Path
) -> None:
    lines, content = evaluated(
        runner, student_dir, "--on", text_file, "--teacher", teacher_dir, "--tokens", "1k"
    )
    assert [row["model"] for row in content["measurements"]] == ["teacher", "student"]
    assert lines[-1] == f"ratio {content['ratios'][str(text_file)]:.2f}"


def test_several_models_are_compared_in_pairs(
    runner: CliRunner, student_dir: Path, teacher_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    words = ("--on", text_file, "--teacher", teacher_dir, "--tokens", "1k", "--window", "100")
    lines, content = evaluated(runner, student_dir, *words, "--beside", teacher_dir, "--detokenise")
    texts = [str(text_file), f"{text_file}, detokenised"]
    assert list(dict.fromkeys(row["text"] for row in content["measurements"])) == texts
    found = {(row["text"], row["model"], row["less"]): row for row in content["differences"]}
    other = str(teacher_dir)
    for text in texts:
        rows = {r["model"]: r["score"] for r in content["measurements"] if r["text"] == text}
        nats = {name: score["nll_sum"] / score["tokens"] for name, score in rows.items()}
        mean = found[text, "student", "teacher"]["mean"]
        assert mean == pytest.approx(nats["student"] - nats["teacher"])
        assert found[text, other, "teacher"] == found[text, other, "teacher"] | {
            "mean": 0.0,
            "error": 0.0,
        }
        assert found[text, other, "student"]["mean"] == pytest.approx(-mean)
        assert found[text, "student", "teacher"]["error"] > 0
    assert any(f"{text_file}: student" in line and "against teacher" in line for line in lines)


def test_a_text_of_one_stream(
    runner: CliRunner, student_dir: Path, teacher_dir: Path, text_file: Path, tokenizer: Any
) -> None:
    words = ("--on", text_file, "--teacher", teacher_dir, "--stream", "--engine", "torch")
    lines, content = evaluated(runner, student_dir, *words, "--tokens", "all")
    ids = [*tokenizer(text_file.read_text())["input_ids"], tokenizer.eos_token_id]
    rows = {row["model"]: row for row in content["streams"]}
    assert rows["student"]["tokens"] == rows["teacher"]["tokens"] == len(ids) - 1
    nll = plain_nll(student_dir, ids, len(ids))
    assert rows["student"]["nll_sum"] == pytest.approx(nll, rel=1e-5)
    assert rows["teacher"]["nll_sum"] == plain_teacher_nll(teacher_dir, ids, 256)
    assert (rows["student"]["reach"], rows["teacher"]["reach"]) == (None, 256)
    assert content["differences"][0]["model"] == "student"
    assert any(line.startswith("nats at place") for line in lines)


def test_other_vocabularies_are_not_compared(
    runner: CliRunner, student_dir: Path, teacher_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(teacher_dir, other)
    tokens = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokens["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokens))
    result = runner.invoke(
        app, ["eval", str(student_dir), "--teacher", str(other), "--on", str(text_file)]
    )
    assert result.exit_code == 2
    assert "different vocabularies" in result.stderr


def test_an_unfinished_run_says_how_to_go_on(runner: CliRunner, run_dir: Path) -> None:
    shutil.rmtree(run_dir / "model")
    result = runner.invoke(app, ["eval", str(run_dir)])
    assert result.exit_code == 2
    assert f"resume its {run_dir}/recipe.toml" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "no-such-text"], "no corpus"),
        (["--on", "missing.txt"], "missing.txt"),
        (["--tokens", "many"], "200k or 1.5M"),
        (["--window", "0"], "at least 1"),
        (["--on", "austen", "--detokenise"], "only a .txt file"),
        (["--engine", "torch"], "for --tasks and --stream only"),
        (["--limit", "5"], "for --tasks only"),
    ],
)
def test_wrong_options_are_one_message(
    runner: CliRunner, student_dir: Path, words: list[str], said: str
) -> None:
    result = runner.invoke(app, ["eval", str(student_dir), *words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
