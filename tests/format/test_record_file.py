"""Records: seen by every reader, spoilt by no kill, and never given out damaged."""

from pathlib import Path

import pytest

from asnn_goose.format import record_file
from asnn_goose.format.record_file import MAGIC, RecordFolder

ONE, TWO, THREE = (bytes([number] * 16) for number in (1, 2, 3))


def opened(folder: Path, told: list[str] | None = None) -> RecordFolder:
    return RecordFolder(folder, about="{}", tell=(told if told is not None else []).append)


def the_file(folder: Path) -> Path:
    (file,) = folder.glob("*.records")
    return file


def test_what_is_put_is_there_for_this_reader_and_the_next(tmp_path: Path) -> None:
    folder = opened(tmp_path / "new")
    assert folder.get(ONE) is None
    folder.put(ONE, b"first")
    folder.put(TWO, b"")
    for reader in (folder, opened(tmp_path / "new")):
        assert reader.get(ONE) == b"first"
        assert reader.get(TWO) == b""
        assert reader.get(THREE) is None
        assert (ONE in reader, THREE in reader, len(reader), reader.size) == (True, False, 2, 5)
    assert (tmp_path / "new" / "about.json").read_text() == "{}\n"


def test_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    left, right = opened(tmp_path), opened(tmp_path)
    left.put(ONE, b"left")
    right.put(TWO, b"right")
    left.put(THREE, b"left again")
    assert left.get(TWO) == b"right"  # put after it was opened
    assert right.get(THREE) == b"left again"
    assert len(list(tmp_path.glob("*.records"))) == 2


@pytest.mark.parametrize("cut", range(1, 16 + 8 + 16 + 6))
def test_a_writer_killed_anywhere_loses_its_last_record_only(tmp_path: Path, cut: int) -> None:
    folder = opened(tmp_path)
    folder.put(ONE, b"whole")
    folder.put(TWO, b"not it")
    file = the_file(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    told: list[str] = []
    reader = opened(tmp_path, told)
    assert reader.get(ONE) == b"whole"
    assert reader.get(TWO) is None
    reader.put(TWO, b"again")
    assert opened(tmp_path).get(TWO) == b"again"
    assert not told


def test_a_record_under_way_is_seen_once_it_is_whole(tmp_path: Path) -> None:
    opened(tmp_path).put(ONE, b"slowly")
    file = the_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    reader = opened(tmp_path)
    assert reader.get(ONE) is None
    file.write_bytes(whole)
    assert reader.get(ONE) == b"slowly"


@pytest.mark.parametrize("place", [0, 7, 17, 24, 39, 41])
def test_a_damaged_record_is_told_and_missing(tmp_path: Path, place: int) -> None:
    folder = opened(tmp_path)
    folder.put(ONE, b"to be damaged")
    file = the_file(tmp_path)
    data = bytearray(file.read_bytes())
    data[len(MAGIC) + place] ^= 1
    file.write_bytes(data)
    told: list[str] = []
    reader = opened(tmp_path, told)
    assert reader.get(ONE) is None
    for key in list(reader._places):  # whatever key the damage left
        assert reader.get(key) is None
        assert "is damaged and is made again" in told[-1]
    reader.put(ONE, b"made again")
    assert reader.get(ONE) == b"made again"


def test_a_long_file_is_left_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "FILE_BYTES", 64)
    folder = opened(tmp_path)
    for key in (ONE, TWO, THREE):
        folder.put(key, key * 2)
    assert len(list(tmp_path.glob("*.records"))) == 3
    assert [opened(tmp_path).get(key) for key in (ONE, TWO, THREE)] == [ONE * 2, TWO * 2, THREE * 2]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "other.records").write_bytes(b"something else altogether, and long enough to fool")
    assert len(opened(tmp_path)) == 0


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    told: list[str] = []
    folder = opened(tmp_path / "file" / "below", told)
    folder.put(ONE, b"x")
    folder.put(TWO, b"x")
    assert len(told) == 1
    assert "cannot be written" in told[0]
    assert folder.get(ONE) is None
