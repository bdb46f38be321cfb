"""Tokens, streamed text and stop strings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from asnn_goose.infer.text import TextError, Vocabulary, read_vocabulary, until_stop

END = "<|im_end|>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every byte is a token; then the separator and an end of turn."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|endoftext|>", END])
    core.enable_truncation(5)
    core.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def configure(folder: Path, **settings: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_text_to_tokens_and_back(folder: Path) -> None:
    vocabulary = read_vocabulary(folder, {})
    ids = vocabulary.ids("A longer text.")
    assert len(ids) == 14
    assert vocabulary.ids(END) == [257]
    assert vocabulary.prompt_ids("") == [vocabulary.separator] == [256]
    assert "".join(vocabulary.pieces([256], ids)) == "A longer text."


def test_characters_of_several_tokens_come_whole(folder: Path) -> None:
    vocabulary = read_vocabulary(folder, {})
    ids = vocabulary.ids("naïve 雪!")
    found = list(vocabulary.pieces([256], ids))
    assert len(found) == len(ids)
    assert "".join(found) == "naïve 雪!"
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in found)


def test_special_tokens_are_not_printed(folder: Path) -> None:
    vocabulary = read_vocabulary(folder, {})
    assert "".join(vocabulary.pieces([256], vocabulary.ids(f"a{END}b"))) == "ab"


@pytest.mark.parametrize("name", [END, {"content": END, "lstrip": False}])
def test_a_text_ends_at_what_the_files_name(folder: Path, name: object) -> None:
    assert read_vocabulary(folder, {}).ends == {256}
    assert read_vocabulary(folder, {"eos_token_id": [7, 8]}).ends == {256, 7, 8}
    configure(folder, eos_token=name)
    assert read_vocabulary(folder, {"eos_token_id": 9}).ends == {256, 257, 9}


def test_without_a_separator_the_end_of_a_text_serves(folder: Path) -> None:
    core = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    core.add_special_tokens(["</s>"])
    core.save(str(folder / "tokenizer.json"))
    with pytest.raises(TextError, match="no token ends a document"):
        read_vocabulary(folder, {})
    configure(folder, eos_token="</s>", model_max_length=5)
    assert read_vocabulary(folder, {}).separator == 1


def test_damaged_files_are_named(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(TextError, match=r"tokenizer_config.json holds a list"):
        read_vocabulary(folder, {})
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(TextError, match=r"tokenizer_config.json is not readable as JSON"):
        read_vocabulary(folder, {})
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(TextError, match=r"tokenizer.json is not readable"):
        read_vocabulary(folder, {})
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TextError, match=r"tokenizer.json is missing"):
        read_vocabulary(folder, {})


TEXT = "one two stop three STOP two"


@pytest.mark.parametrize("stops", [[], ["two"], ["stop", "STOP"], ["o stop", "stop t"], ["absent"]])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_stop_strings_end_a_text_however_it_is_cut(stops: list[str], size: int) -> None:
    pieces = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    ends = [TEXT.find(stop) for stop in stops if stop in TEXT]
    assert "".join(until_stop(pieces, stops)) == TEXT[: min(ends, default=None)]


def test_no_part_of_a_stop_string_is_ever_printed() -> None:
    printed = ""
    for piece in until_stop(iter("aab aabc"), ["aabc"]):
        printed += piece
    assert printed == "aab "


def test_text_that_only_began_like_a_stop_string_is_printed_in_the_end() -> None:
    assert list(until_stop(["end", "\n", "\n"], ["\n\n\n"])) == ["end", "", "", "\n\n"]


def test_text_without_stop_strings_waits_for_nothing() -> None:
    assert list(until_stop(["a", "", "b"], [])) == ["a", "", "b"]


def test_nothing_is_drawn_past_a_stop_string() -> None:
    pieces = iter(["a", "stop", "b"])
    assert list(until_stop(pieces, ["stop"])) == ["a"]
    assert list(pieces) == ["b"]


def test_vocabulary_is_a_plain_value(folder: Path) -> None:
    core = read_vocabulary(folder, {}).core
    one, other = (Vocabulary(core=core, separator=0, ends=frozenset({0})) for _ in range(2))
    assert one == other
