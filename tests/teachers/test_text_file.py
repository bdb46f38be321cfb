"""A file of texts: there whole or not at all, resumed by whole batches, never overwritten."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest

from asnn_goose.data.corpora import documents
from asnn_goose.teachers.text_file import TextFile, TextFileError

SETTINGS = {"seed": 3, "texts": ("a", "b"), "top_p": 1.0}
TEXTS = ["naïve\r\n goose \u2028", '"quoted" \x0c', "\u0000 and 雪", "four"]


def records(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


@pytest.fixture
def file(tmp_path: Path) -> TextFile:
    return TextFile(tmp_path / "new" / "own.jsonl", SETTINGS)


def fill(file: TextFile, *batches: list[str]) -> list[str]:
    with file.growing(batch=2) as kept:
        for texts in batches:
            file.append(records(texts))
    return [record["text"] for record in kept]


def cut(file: TextFile, *batches: list[str]) -> None:
    """Write some batches, then fall over."""
    with suppress(KeyboardInterrupt), file.growing(batch=2):
        for texts in batches:
            file.append(records(texts))
        raise KeyboardInterrupt


def test_it_reads_back_as_a_training_text(file: TextFile) -> None:
    assert not file.check(resume=False)
    assert fill(file, TEXTS[:2], TEXTS[2:]) == []
    assert [document.text for document in documents(file.path, "all")] == TEXTS
    assert [json.loads(line) for line in file.path.read_text().split("\n")[:-1]] == [
        {"text": text} for text in TEXTS
    ]
    assert json.loads(file.record.read_text()) == {**SETTINGS, "texts": ["a", "b"]}
    assert sorted(path.name for path in file.path.parent.iterdir()) == [
        "own.jsonl",
        "own.settings.json",
    ]


def test_it_is_not_there_before_all_is_written(file: TextFile) -> None:
    cut(file, TEXTS[:2])
    assert not file.path.exists()
    assert not file.check(resume=True)
    assert fill(file, TEXTS[2:]) == TEXTS[:2]
    assert [document.text for document in documents(file.path, "all")] == TEXTS
    assert file.check(resume=True)


@pytest.mark.parametrize("left", [b'{"text": "ha', b'{"text": "one of two"}\n'])
def test_what_a_crash_left_of_a_batch_is_dropped(file: TextFile, left: bytes) -> None:
    cut(file, TEXTS[:2])
    with file.part.open("ab") as stream:
        stream.write(left)
    assert fill(file, TEXTS[2:]) == TEXTS[:2]
    assert [document.text for document in documents(file.path, "all")] == TEXTS


@pytest.mark.parametrize("line", [b"\x00" * 9, b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_part_is_named(file: TextFile, line: bytes) -> None:
    cut(file, TEXTS[:2])
    with file.part.open("ab") as stream:
        stream.write(2 * (line + b"\n"))
    with pytest.raises(TextFileError, match=r"part is damaged .*begin anew"):
        fill(file, TEXTS[2:])


@pytest.mark.parametrize("taken", ["path", "part", "record"])
def test_a_name_that_is_taken_is_left_alone(file: TextFile, taken: str) -> None:
    place: Path = getattr(file, taken)
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    with pytest.raises(TextFileError, match=re.escape(f"{place} exists: resume it")):
        file.check(resume=False)
    assert place.read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(file: TextFile) -> None:
    def write() -> None:
        with file.growing(batch=2):
            file.append(records(TEXTS))
            file.path.write_text("mine")

    with pytest.raises(TextFileError, match=r"has appeared meanwhile: .* is kept"):
        write()
    assert file.path.read_text() == "mine"
    assert len(file.part.read_text().split("\n")) == 5


def test_who_comes_after_another_process_has_ended_is_told(file: TextFile) -> None:
    fill(file, TEXTS[:2])
    with pytest.raises(TextFileError, match="has appeared meanwhile: choose another file"):
        fill(TextFile(file.path, SETTINGS), TEXTS[2:])
    assert [document.text for document in documents(file.path, "all")] == TEXTS[:2]
    assert not file.part.exists()


def test_what_another_process_began_with_other_settings_is_not_gone_on_with(
    file: TextFile,
) -> None:
    other = TextFile(file.path, SETTINGS | {"seed": 4})
    assert not other.check(resume=False)  # before the first one begins
    cut(file, TEXTS[:2])
    with pytest.raises(TextFileError, match="seed was 3"):
        fill(other, TEXTS[2:])
    assert fill(file, TEXTS[2:]) == TEXTS[:2]


def test_only_its_own_settings_go_on(file: TextFile) -> None:
    with pytest.raises(TextFileError, match="nothing to resume"):
        file.check(resume=True)
    cut(file, TEXTS[:2])
    other = TextFile(file.path, SETTINGS | {"seed": 4})
    with pytest.raises(TextFileError, match=r"seed was 3 when .* was begun and is 4 now"):
        other.check(resume=True)
    file.record.write_text("[")
    with pytest.raises(TextFileError, match="not readable as settings"):
        file.check(resume=True)


def test_two_cannot_write_at_once(file: TextFile) -> None:
    with file.growing(batch=2):
        file.append(records(TEXTS[:2]))
        with (
            pytest.raises(TextFileError, match="another process is writing"),
            TextFile(file.path, SETTINGS).growing(batch=2),
        ):
            pass
        file.append(records(TEXTS[2:]))
    assert [document.text for document in documents(file.path, "all")] == TEXTS


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(TextFileError, match="cannot be written"),
        TextFile(tmp_path / "file" / "own.jsonl", SETTINGS).growing(batch=2),
    ):
        pass
    with pytest.raises(TextFileError, match=r"own\.txt: must end in \.jsonl"):
        TextFile(tmp_path / "own.txt", SETTINGS)


def test_texts_are_added_only_while_it_is_open(file: TextFile) -> None:
    with pytest.raises(ValueError, match="only inside"):
        file.append(records(TEXTS))
