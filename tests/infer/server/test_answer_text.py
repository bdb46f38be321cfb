"""Text comes as soon as it is sure, and ends before a stop string."""

from __future__ import annotations

from pathlib import Path

import pytest

from asnn_goose.infer.server.answer_text import AnswerText
from asnn_goose.infer.text import Vocabulary, read_vocabulary


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return read_vocabulary(folder, {"eos_token_id": None})


def pieces(vocabulary: Vocabulary, text: str, *stops: str) -> tuple[list[str], str, bool]:
    writer = AnswerText(vocabulary, prompt=vocabulary.ids("before"), stops=stops)
    found = []
    for token in vocabulary.ids(text):
        found.append(writer.write(token))
        if writer.stopped:
            break
    return found, writer.rest(), writer.stopped


def test_plain_text_comes_at_once(vocabulary: Vocabulary) -> None:
    assert pieces(vocabulary, "goose") == (["g", "o", "o", "s", "e"], "", False)


def test_a_character_waits_for_all_of_its_bytes(vocabulary: Vocabulary) -> None:
    assert pieces(vocabulary, "é!") == (["", "é", "!"], "", False)


def test_a_stop_string_is_cut_off(vocabulary: Vocabulary) -> None:
    assert pieces(vocabulary, "a stop b", "stop") == (["a", " ", "", "", "", ""], "", True)


def test_what_only_looked_like_a_stop_is_given_back(vocabulary: Vocabulary) -> None:
    assert pieces(vocabulary, "sto", "stop", "x") == (["", "", ""], "sto", False)
    assert pieces(vocabulary, "ssstow", "stop")[0] == ["", "s", "s", "", "", "stow"]
