"""Text from a tiny student: the same as from full forward passes, reproducible, bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.sampling import Sampling, stream
from asnn_goose.cli.subject import load
from asnn_goose.cli.writing import pieces, prompt_ids


@pytest.mark.parametrize("kind", ["student_dir", "teacher_dir"])
def test_greedy_text_is_that_of_full_forward_passes(
    kind: str, request: pytest.FixtureRequest
) -> None:
    subject = load(str(request.getfixturevalue(kind)))
    ids_T = prompt_ids(subject.tokenizer, "A goose flew north")
    drawn = list(stream(subject.model, ids_T, tokens=12, sampling=Sampling(greedy=True)))
    expected = ids_T
    with torch.no_grad():
        for _ in drawn:
            following = subject.model(input_ids=expected[None]).logits[0, -1].argmax()
            expected = torch.cat([expected, following[None]])
    assert drawn == expected[len(ids_T) :].tolist()


def text(runner: CliRunner, *words: str, stdin: str | None = None) -> str:
    result = runner.invoke(app, ["generate", *words], input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_seed_makes_it_repeatable(runner: CliRunner, student_dir: Path) -> None:
    common = (str(student_dir), "Hello", "--tokens", "30", "--keep-going")
    one, again = (text(runner, *common, "--seed", "5") for _ in range(2))
    other = text(runner, *common, "--seed", "6")
    assert one.startswith("Hello")
    assert one == again != other


def test_prompt_from_standard_input(runner: CliRunner, student_dir: Path) -> None:
    common = ("--tokens", "10", "--greedy", "--keep-going")
    typed = text(runner, str(student_dir), "The sea", *common)
    assert text(runner, str(student_dir), *common, stdin="The sea") == typed
    assert text(runner, str(student_dir), "-", *common, stdin="The sea") == typed


def test_speed_and_memory_go_to_standard_error(runner: CliRunner, student_dir: Path) -> None:
    result = runner.invoke(
        app, ["generate", str(student_dir), "Hi", "--tokens", "7", "--seed", "0", "--keep-going"]
    )
    assert result.stderr.startswith("[7 tokens, ")
    assert "peak memory" in result.stderr
    assert "tokens/s" not in result.stdout


def test_an_empty_prompt_starts_a_document(tokenizer: PreTrainedTokenizerFast) -> None:
    assert prompt_ids(tokenizer, "").tolist() == [tokenizer.eos_token_id]


def test_text_ends_where_the_model_ends_it(
    runner: CliRunner, student_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asnn_goose.cli.writing.stream", lambda *_, **__: iter([65, 66, 256, 67]))
    stopped = text(runner, str(student_dir), "Hi")
    going_on = text(runner, str(student_dir), "Hi", "--keep-going")
    assert len(going_on) == len(stopped) + 1


def test_characters_of_several_tokens_come_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("naïve 雪!", add_special_tokens=False)["input_ids"]
    start_T = torch.tensor([tokenizer.eos_token_id])
    found = list(pieces(tokenizer, start_T, ids))
    assert len(found) == len(ids)
    assert "".join(found) == "naïve 雪!"
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in found)


def test_the_cache_of_a_student_does_not_grow(student_dir: Path) -> None:
    subject = load(str(student_dir))
    sizes = set()
    seen = []

    def watched(**inputs: object) -> object:
        output = subject.model(**inputs)
        state = output.past_key_values.blocks
        tensors = [t for block in state for t in flat(block)]
        sizes.add(sum(t.numel() for t in tensors))
        seen.append(output.past_key_values)
        return output

    list(stream(watched, torch.tensor([1, 2, 3]), tokens=50, sampling=Sampling(greedy=True)))
    assert len(seen) == 50
    assert len(sizes) == 1


def flat(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in flat(part)]
    return []
