"""Measures of what a model writes, on texts that are known."""

from __future__ import annotations

import pytest

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.eval.generation import agreement, distinct, drawn_after, repeated, variety
from asnn_goose.eval.instructions import ANSWER, INSTRUCTIONS, asked_in_all, judged, obey
from asnn_goose.eval.readers.torch_reader import TorchReader


def test_agreement_counts_from_the_first_token() -> None:
    found = agreement([[1, 2, 3], [1, 9, 3], [5]], [[1, 2, 3], [1, 2, 3], [6, 5]])
    assert found.length == pytest.approx((3 + 1 + 0) / 3)
    assert found.whole == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="as many"):
        agreement([[1]], [[1], [2]])


def test_repetition_is_within_a_text_and_variety_over_all() -> None:
    same = [[1, 2, 1, 2, 1, 2]]
    assert repeated(same, 2) == pytest.approx(1 - 2 / 5)
    assert repeated([[1, 2, 3, 4]], 2) == 0
    twice = [[1, 2, 3, 4], [1, 2, 3, 4]]
    assert (repeated(twice, 2), distinct(twice, 2)) == (0, 0.5)
    assert distinct([[1], [2]], 2) == 0
    assert variety(twice).length == 4


def test_batches_do_not_change_what_is_drawn(student_reader: TorchReader) -> None:
    prompts = [[1, 2], [3, 4], [5, 6]]
    told: list[int] = []
    whole = drawn_after(student_reader, prompts, limit=4, advance=told.append)
    assert drawn_after(student_reader, prompts, limit=4, batch=2) == whole
    assert sum(told) == 3


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("list", "- blue\n- wide\n- cold", "- blue\n- wide"),
        ("numbered", "1. a\n2. b\n3. c", "1. a\n2. b"),
        ("capitals", "RIVERS FLOW.", "Rivers flow."),
        ("word", "Lovely.", "Very lovely."),
        ("short", "They flow.", "word " * 20),
        ("json", '{"topic": "rivers"}', "topic: rivers"),
        ("ending", "Rivers flow. DONE.", "DONE is what rivers are"),
        ("question", "Do you like rivers?", "Do you? I like rivers."),
    ],
)
def test_every_instruction_is_checked(kind: str, good: str, bad: str) -> None:
    found = judged([kind, kind], [good, bad], [[1] * ANSWER, [1, 2]])
    assert found.by_kind == {kind: 0.5}
    assert (found.followed, found.stopped, found.length) == (0.5, 0.5, (ANSWER + 2) / 2)


def test_every_kind_is_tried() -> None:
    assert {"list", "numbered", "capitals", "word"} < set(INSTRUCTIONS)
    assert all("{}" in said for said, _ in INSTRUCTIONS.values())


def test_a_model_without_sense_is_asked_everything(
    student_reader: TorchReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asnn_goose.eval.instructions.ANSWER", 3)
    told: list[int] = []
    template = ChatTemplate("{{ messages[0]['content'] }}|")
    found = obey(student_reader, template, advance=told.append)
    assert sum(told) == asked_in_all() == 48
    assert found.length <= 3
    assert found.followed < 0.5
