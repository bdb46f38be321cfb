"""Text from a tiny student: engine and PyTorch, reproducible, streamed, bounded memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.options import stop_strings
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.origin import is_made_of
from asnn_goose.infer.draw import draw
from asnn_goose.infer.sampler import Drawer, Sampling
from asnn_goose.model import GooseForCausalLM
from asnn_goose.subject.engine_model import load_engine
from asnn_goose.subject.torch_model import CacheReader, load_torch

GREEDY = Sampling(greedy=True)


@pytest.fixture
def student(student_dir: Path, tmp_path: Path) -> Path:
    """A student's folder in which nothing was packed yet."""
    fresh = shutil.ignore_patterns("packed")
    return Path(shutil.copytree(student_dir, tmp_path / "student", ignore=fresh))


@pytest.mark.parametrize("kind", ["student_dir", "teacher_dir"])
def test_greedy_text_is_that_of_full_forward_passes(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model = load_torch(str(request.getfixturevalue(kind)))
    ids = model.vocabulary.prompt_ids("A goose flew north")
    drawn = list(model.draw(ids, tokens=12, sampling=GREEDY, seed=None))
    expected = torch.tensor(ids)
    with torch.no_grad():
        for _ in drawn:
            following = model.model(input_ids=expected[None]).logits[0, -1].argmax()
            expected = torch.cat([expected, following[None]])
    assert drawn == expected[len(ids) :].tolist()


def text(runner: CliRunner, *words: str, stdin: str | None = None) -> str:
    result = runner.invoke(app, ["generate", *words], input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(runner: CliRunner, *words: str) -> str:
    result = runner.invoke(app, ["generate", *words])
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_seed_makes_it_repeatable(runner: CliRunner, student_dir: Path, engine: str) -> None:
    common = (str(student_dir), "Hello", "--tokens", "30", "--keep-going", "--engine", engine)
    one, again = (text(runner, *common, "--seed", "5") for _ in range(2))
    other = text(runner, *common, "--seed", "6")
    assert one.startswith("Hello")
    assert one == again != other


@pytest.mark.parametrize("draft", ["text", "student"])
def test_a_draft_changes_no_greedy_word(runner: CliRunner, student_dir: Path, draft: str) -> None:
    common = ["generate", str(student_dir), "Hello Hello", "--tokens", "20", "--greedy"]
    wanted = runner.invoke(app, [*common, "--keep-going"])
    named = str(student_dir) if draft == "student" else draft
    drafted = runner.invoke(app, [*common, "--keep-going", "--draft", named, "--draft-tokens", "3"])
    assert drafted.exit_code == 0, drafted.output
    assert drafted.stdout == wanted.stdout
    assert "drafted tokens kept" in drafted.stderr
    assert "drafted" not in wanted.stderr
    if draft == "student":  # its own twin is always right
        assert "14 of 14 drafted tokens kept (100%)" in drafted.stderr


def test_drafts_that_cannot_be_are_named(runner: CliRunner, student_dir: Path) -> None:
    common = (str(student_dir), "Hello", "--draft")
    assert "only students on the engine" in refusal(runner, *common, "text", "--engine", "torch")
    assert "fewer than the student's own 0" in refusal(runner, *common, "1")


def test_both_engines_draw_alike(student: Path) -> None:
    torch_model = load_torch(str(student))
    with torch.no_grad():
        for rows in (torch_model.model.embedding, torch_model.model.lm_head):
            rows.weight.copy_(rows.weight.half())
    lossless = PackSettings(dense="f32", low_rank="f32", head="f16")
    export_packed(torch_model.model, student / "p", settings=lossless, tokenizer=student)
    ids, sampling = torch_model.vocabulary.prompt_ids("A goose flew"), Sampling(top_p=0.9)
    drawn = [
        list(model.draw(ids, tokens=25, sampling=sampling, seed=4))
        for model in (load_engine(str(student / "p")), torch_model)
    ]
    assert drawn[0] == drawn[1]


def test_both_read_the_same_vocabulary(student_dir: Path) -> None:
    one = load_engine(str(student_dir)).vocabulary
    other = load_torch(str(student_dir)).vocabulary
    assert (one.separator, one.ends) == (other.separator, other.ends)
    assert one.ids("naïve 雪<|endoftext|>") == other.ids("naïve 雪<|endoftext|>")


def test_a_teacher_runs_on_pytorch(runner: CliRunner, teacher_dir: Path) -> None:
    common = (str(teacher_dir), "Hello", "--tokens", "10", "--greedy", "--keep-going")
    assert text(runner, *common) == text(runner, *common, "--engine", "torch")
    assert "is no student: the engine runs" in refusal(runner, *common, "--engine", "native")


def test_prompt_from_standard_input(runner: CliRunner, student_dir: Path) -> None:
    common = ("--tokens", "10", "--greedy", "--keep-going")
    typed = text(runner, str(student_dir), "The sea", *common)
    assert text(runner, str(student_dir), *common, stdin="The sea") == typed
    assert text(runner, str(student_dir), "-", *common, stdin="The sea") == typed


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_speed_and_memory_go_to_standard_error(
    runner: CliRunner, student_dir: Path, engine: str
) -> None:
    words = ("Hi", "--tokens", "7", "--seed", "0", "--keep-going", "--engine", engine)
    result = runner.invoke(app, ["generate", str(student_dir), *words])
    last = result.stderr.splitlines()[-1]
    assert last.startswith("[7 tokens, ")
    assert "peak memory" in last
    assert "tokens/s" not in result.stdout


def test_a_student_is_packed_once_and_again_when_its_weights_change(
    runner: CliRunner, student: Path
) -> None:
    words = ["generate", str(student), "Hi", "--tokens", "3", "--greedy"]
    first, second = (runner.invoke(app, words) for _ in range(2))
    assert f"packing {student} into {student / 'packed'}" in first.stderr
    assert "packing" not in second.stderr
    assert first.stdout == second.stdout
    packed = student / "packed"
    later = (packed / "packed.safetensors").stat().st_mtime + 5
    os.utime(student / "model.safetensors", (later, later))
    assert is_made_of(packed, source=student)
    assert "packing" not in runner.invoke(app, words).stderr


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_weights_copied_over_with_an_older_time_are_spoken_with(
    runner: CliRunner, student: Path, engine: str
) -> None:
    words = (str(student), "Hi", "--tokens", "9", "--greedy", "--keep-going", "--engine", engine)
    before = text(runner, *words)
    other = student.parent / "other"
    model = GooseForCausalLM.from_pretrained(student)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(other)
    weights = other / "model.safetensors"
    assert weights.stat().st_size == (student / "model.safetensors").stat().st_size
    os.utime(weights, (1e9, 1e9))
    shutil.copy2(weights, student / "model.safetensors")
    assert text(runner, *words) != before
    export = runner.invoke(app, ["export", str(student), "--to", "packed"])
    assert export.exit_code == 0
    assert is_made_of(student / "packed", source=student)


def test_a_run_and_a_packed_folder_are_its_student(runner: CliRunner, student: Path) -> None:
    run = student.parent / "run"
    run.mkdir()
    (run / "recipe.toml").write_text("")
    words = ("Hi", "--tokens", "9", "--greedy", "--keep-going")
    assert "has no model/ yet: resume its" in refusal(runner, str(run), *words)
    shutil.copytree(student, run / "model")
    found = {text(runner, str(place), *words) for place in (student, run, run / "packed")}
    assert len(found) == 1
    assert "which only the engine runs" in refusal(
        runner, str(run / "packed"), *words, "--engine", "torch"
    )


def test_a_foreign_folder_named_packed_is_left_alone(runner: CliRunner, student: Path) -> None:
    (student / "packed").mkdir()
    (student / "packed" / "mine.txt").write_text("mine")
    assert "exists and is no packed model" in refusal(runner, str(student), "Hi")
    assert (student / "packed" / "mine.txt").read_text() == "mine"


def test_a_student_without_its_tokenizer_is_named(runner: CliRunner, student: Path) -> None:
    (student / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refusal(runner, str(student), "Hi")


def drawing(monkeypatch: pytest.MonkeyPatch, letters: str) -> None:
    """Let the engine draw the separator for ~ and otherwise these letters."""

    def ids(model: object, *_: object, **settings: int) -> Iterator[int]:
        vocabulary = model.vocabulary  # type: ignore[attr-defined]
        for letter in letters[: settings["tokens"]]:
            yield vocabulary.separator if letter == "~" else vocabulary.ids(letter)[0]

    monkeypatch.setattr("asnn_goose.subject.engine_model.EngineModel.draw", ids)


def test_text_ends_where_the_model_ends_it(
    runner: CliRunner, student_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, "ab~c")
    assert text(runner, str(student_dir), "Hi") == "Hiab\n"
    assert text(runner, str(student_dir), "Hi", "--keep-going") == "Hiabc\n"
    assert text(runner, str(student_dir), "Hi", "--tokens", "1") == "Hia\n"


def test_text_ends_before_a_stop_string(
    runner: CliRunner, student_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, "one\ntwo three")
    common = (str(student_dir), "Hi ")
    assert text(runner, *common, "--stop", "two", "--stop", "thr") == "Hi one\n\n"
    assert text(runner, *common, "--stop", "\\ntwo") == "Hi one\n"
    assert text(runner, *common, "--stop", "four") == "Hi one\ntwo three\n"
    assert "--stop '': must not be empty" in refusal(runner, *common, "--stop", "")


def test_stop_strings_as_typed() -> None:
    assert stop_strings(["a\\nb", "\\t", "\n"]) == ["a\nb", "\t", "\n"]
    assert stop_strings(None) == []


def test_senseless_settings_are_named(runner: CliRunner, student_dir: Path) -> None:
    for name, value in (("min_p", "2"), ("repetition_penalty", "0"), ("top_p", "0")):
        option = f"--{name.replace('_', '-')}"
        assert f"error: {name} = {value}: must be" in refusal(
            runner, str(student_dir), "Hi", option, value
        )


def test_the_penalty_keeps_text_from_repeating(runner: CliRunner, student_dir: Path) -> None:
    common = (str(student_dir), "aa", "--greedy", "--keep-going", "--tokens", "40")
    varied = load_engine(str(student_dir)).vocabulary.ids(
        text(runner, *common, "--repetition-penalty", "1e9")[2:]
    )
    plain = load_engine(str(student_dir)).vocabulary.ids(text(runner, *common)[2:])
    assert len(set(varied)) > len(set(plain))


def test_an_empty_prompt_starts_a_document(
    student_dir: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    vocabulary = load_engine(str(student_dir)).vocabulary
    assert vocabulary.prompt_ids("") == [tokenizer.eos_token_id]


def test_the_cache_of_a_student_does_not_grow(student_dir: Path) -> None:
    subject = load_torch(str(student_dir))
    sizes = set()
    seen = []

    def watched(**inputs: object) -> object:
        output = subject.model(**inputs)
        state = output.past_key_values.blocks
        tensors = [t for block in state for t in flat(block)]
        sizes.add(sum(t.numel() for t in tensors))
        seen.append(output.past_key_values)
        return output

    list(draw(CacheReader(watched), [1, 2, 3], drawer=Drawer(GREEDY), limit=50))
    assert len(seen) == 50
    assert len(sizes) == 1


def flat(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in flat(part)]
    return []
