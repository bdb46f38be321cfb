"""The user's own files: splits are disjoint and whole, and bad input is named by its place."""

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asnn_goose.data.document import DataError, Split
from asnn_goose.data.own_text import BLOCK_CHARACTERS, _blocks, content_hash, read_own

PARTS: tuple[Split, ...] = ("train", "validation", "test")


def lines_file(folder: Path, *lines: str | bytes) -> Path:
    file = folder / "own.jsonl"
    encoded = (line.encode() if isinstance(line, str) else line for line in lines)
    file.write_bytes(b"".join(line + b"\n" for line in encoded))
    return file


def test_lines_are_dealt_out_once_each(tmp_path: Path) -> None:
    texts = [f"text number {n}" for n in range(300)] * 2
    file = lines_file(tmp_path, *(json.dumps({"text": t, "other": 1}) for t in texts))
    parts = {part: [d.text for d in read_own(file, part)] for part in PARTS}
    assert sorted(itertools.chain(*parts.values())) == sorted(texts)
    assert len(parts["train"]) > len(parts["validation"]) > 0
    assert len(parts["test"]) > 0
    # Both copies of every text are in one split.
    assert sum(len(set(part)) for part in parts.values()) == 300
    assert [d.text for d in read_own(file, "all")] == texts
    assert [d.id for d in read_own(file, "all")][:2] == ["own.jsonl:1", "own.jsonl:2"]


def test_blank_lines_and_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    file = lines_file(tmp_path, '\ufeff{"text": "one"}', "", '{"text": "  "}', '{"text": "two"}')
    assert [d.text for d in read_own(file, "all")] == ["one", "two"]
    (tmp_path / "own.txt").write_text("\ufeffone", "utf-8")
    assert [d.text for d in read_own(tmp_path / "own.txt", "all")] == ["one"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{'text': 1}", r"not JSON \(.*\), found \{'text': 1\}"),
        ('["text"]', r'wanted an object, found \["text"\]'),
        ('{"txt": "x", "id": 1}', r"no key 'text', found 'txt', 'id'"),
        ("{}", r"no key 'text', found none"),
        ('{"text": [1, 2]}', r"'text' is to be text, found \[1, 2\]"),
        ("x" * 200, r"found x{60}\.\.\.$"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, fault: str) -> None:
    file = lines_file(tmp_path, '{"text": "good"}', "", line)
    with pytest.raises(DataError, match=rf"own\.jsonl, line 3: .*{fault}"):
        list(read_own(file, "train"))


def test_byte_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = lines_file(tmp_path, '{"text": "é"}', b'{"text": "\xe9"}')
    offset = file.read_bytes().index(b"\xe9")
    with pytest.raises(DataError, match=rf"line 2: not UTF-8 at byte {offset} .*0xe9"):
        list(read_own(file, "all"))
    text = tmp_path / "own.txt"
    text.write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"own\.txt: not UTF-8 at byte 3 of the file \(0xff\)"):
        list(read_own(text, "train"))


def test_missing_and_unknown_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own\.txt: no such file"):
        read_own(tmp_path / "own.txt", "train")
    (tmp_path / "own.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"own\.csv: wanted a file that ends in \.txt or \.jsonl"):
        read_own(tmp_path / "own.csv", "train")
    with pytest.raises(DataError, match=r"gone\.txt cannot be read"):
        content_hash(tmp_path / "gone.txt")


@pytest.mark.parametrize("content", ["", " \n\n"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_empty_file_is_an_error(tmp_path: Path, content: str, suffix: str) -> None:
    file = tmp_path / f"own{suffix}"
    file.write_text(content)
    for split in ("train", "all"):
        with pytest.raises(DataError, match=rf"own\{suffix} is empty"):
            list(read_own(file, split))


def test_text_file_is_whole_or_dealt_out_in_runs(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 100 for n in range(1_000))
    file = tmp_path / "own.txt"
    file.write_text(text)
    assert [d.text for d in read_own(file, "all")] == [text]
    parts = {part: list(read_own(file, part)) for part in PARTS}
    sizes = {part: sum(len(d.text) for d in found) for part, found in parts.items()}
    assert sum(sizes.values()) == len(text)
    assert 0.8 < sizes["train"] / len(text) < 0.97
    assert min(sizes.values()) > 0
    paragraphs = [{*d.text.split("\n\n")} - {""} for found in parts.values() for d in found]
    assert len(set.union(*paragraphs)) == sum(map(len, paragraphs)) == 1_000
    # Neighbouring blocks of one split stay together, so most training text is long.
    assert max(len(d.text) for d in parts["train"]) > 5 * BLOCK_CHARACTERS
    ids = [d.id for found in parts.values() for d in found]
    assert len(set(ids)) == len(ids)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["word ", "x" * 900, "\n", "\n\n", "\n \n", "é"]), max_size=60))
def test_blocks_joined_are_the_text(pieces: list[str]) -> None:
    text = "".join(pieces) * 3
    blocks = list(_blocks(text))
    assert "".join(blocks) == text
    assert all(BLOCK_CHARACTERS <= len(block) <= 2 * BLOCK_CHARACTERS for block in blocks[:-1])


def test_blocks_end_at_paragraphs_before_lines_before_words() -> None:
    fill = "x" * BLOCK_CHARACTERS
    assert next(_blocks(f"{fill} a\nb\n\nc{fill}")) == f"{fill} a\nb\n\n"
    assert next(_blocks(f"{fill} a\nb{fill}")) == f"{fill} a\n"
    assert next(_blocks(f"{fill}x a{fill}")) == f"{fill}x "


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "x", "n": ' + "9" * 5000 + "}", "line 2: not JSON"),
        ("[" * 100_000 + "]" * 100_000, "line 2: not JSON"),
        ('{"text": "ab\\ud800c"}', r"line 2: 'text' holds .*ud800.* after 2 characters"),
    ],
)
def test_lines_that_break_the_reader_are_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "good"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(read_own(file, "all"))


def test_null_is_a_row_without_text(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": null}\n{"text": "good"}\n', encoding="utf-8")
    assert [document.text for document in read_own(file, "all")] == ["good"]


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match="is no file"):
        content_hash(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match="no such file"):
        next(read_own(tmp_path / "pipe.txt", "all"))
