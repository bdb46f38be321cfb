"""Two and more on one folder, one file and one cache at once: nothing torn, and clear words."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from asnn_goose import disk, leftovers
from asnn_goose.data.shards import shard
from asnn_goose.disk import TakenError
from asnn_goose.format.record_file import RecordFolder
from asnn_goose.sources import cache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MANY = 6
FILES = ("one", "two", "three")


def at_once(work: Callable[[int], object], *, many: int = MANY) -> list[object]:
    """What each of many threads that begin together gave, or raised."""
    together = Barrier(many)

    def carried_out(number: int) -> object:
        together.wait()
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(carried_out, range(many)))


def fill(folder: Path, number: int) -> None:
    for name in FILES:
        (folder / name).write_text(f"{number}" * 1000)


def whose(folder: Path) -> int:
    """The one thread that wrote all of a folder."""
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)
    (text,) = {(folder / name).read_text() for name in FILES}
    assert len(text) == 1000
    return int(text[0])


def test_of_new_folders_one_is_made_and_the_others_are_told(tmp_path: Path) -> None:
    def make(number: int) -> int:
        with disk.new_folder(tmp_path / "a") as fresh:
            fill(fresh, number)
        return number

    found = at_once(make)
    made = [one for one in found if isinstance(one, int)]
    told = [one for one in found if isinstance(one, TakenError)]
    assert (len(made), len(told)) == (1, MANY - 1), found
    assert all("has appeared meanwhile: another process made it" in str(one) for one in told)
    assert [whose(tmp_path / "a")] == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["file", "folder"])
def test_what_has_a_new_folders_name_stays(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "a" if name == "file" else tmp_path / "a" / "b"

    def make() -> None:
        with disk.new_folder(tmp_path / "a") as fresh:
            fill(fresh, 1)
            theirs.parent.mkdir(exist_ok=True)
            theirs.write_text("theirs")

    with pytest.raises(TakenError, match="meanwhile"):
        make()
    assert theirs.read_text() == "theirs"


def test_replaced_folders_are_whole_at_every_moment(tmp_path: Path) -> None:
    place = tmp_path / "a"

    def replace(number: int) -> int:
        for _ in range(5):
            with disk.replaced_folder(place, kind="x", marks="one", holds=FILES) as fresh:
                fill(fresh, number)
            assert all(len((place / name).read_text()) == 1000 for name in FILES)
        return number

    assert at_once(replace) == list(range(MANY))
    assert whose(place) in range(MANY)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_replaced_files_are_whole_at_every_moment(tmp_path: Path) -> None:
    def replace(number: int) -> int:
        for _ in range(5):
            disk.write_text(tmp_path / "a", f"{number}" * 1000)
            assert len((tmp_path / "a").read_text()) == 1000
        return number

    assert at_once(replace) == list(range(MANY))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_of_one_thing_in_the_cache_the_first_stays(tmp_path: Path) -> None:
    def fetch(number: int) -> int:
        with cache.new_folder(tmp_path / "a") as fresh:
            fill(fresh, number)
        return whose(tmp_path / "a")

    assert len(set(at_once(fetch))) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_text_is_tokenised_by_all_and_kept_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: PreTrainedTokenizerFast,
    text_file: Path,
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    found = at_once(lambda number: shard(text_file, "all", tokenizer).tokens_N.tolist(), many=3)
    assert isinstance(found[0], list)
    assert found == [found[0]] * 3
    assert len(list((tmp_path / "cache" / "shards").iterdir())) == 1


def test_records_of_many_writers_are_all_there(tmp_path: Path) -> None:
    """As two runs fill one teacher's cache."""

    def write(number: int) -> int:
        folder = RecordFolder(tmp_path / "records", about=f"{number}", tell=pytest.fail)
        for key in range(20):
            folder.put(bytes([key] * 16), bytes([key]) * 3000)
            folder.refresh()
        return len(folder)

    assert at_once(write) == [20] * MANY
    whole = RecordFolder(tmp_path / "records", about="", tell=pytest.fail)
    assert [whole.get(bytes([key] * 16)) for key in range(20)] == [
        bytes([key]) * 3000 for key in range(20)
    ]


def test_leftovers_are_removed_by_many_and_nobody_loses_a_folder(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f".a.{number:08}.unfinished").mkdir()

    def work(number: int) -> int:
        for _ in range(5):
            with leftovers.scratch(tmp_path / "a") as folder:
                (folder / "mine").write_text("mine")
                leftovers.remove_leftovers(tmp_path)
                assert (folder / "mine").read_text() == "mine"
        return number

    assert at_once(work) == list(range(MANY))
    assert not list(tmp_path.iterdir())
