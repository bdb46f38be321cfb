"""What is taken out of each package, on small packages of the same layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.data import readers
from asnn_goose.data.document import DataError
from asnn_goose.data.readers import read_factbook, read_novels, read_speeches, read_summaries

PROSE = "long enough to be prose. " * 10


def test_speeches_of_one_year_share_a_group(tmp_path: Path) -> None:
    for name in ("1945-Truman-1", "1945-Truman-2", "1946-Truman-1"):
        (tmp_path / f"{name}.txt").write_text(f"{name} says: café\n", "utf-8")
    found = list(read_speeches(tmp_path))
    assert [(d.id, d.group) for d in found] == [
        ("1945-Truman-1", "1945"),
        ("1945-Truman-2", "1945"),
        ("1946-Truman-1", "1946"),
    ]
    assert found[0].text == "1945-Truman-1 says: café"


def test_empty_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*\.txt in"):
        list(read_speeches(tmp_path))


def test_summaries_leave_out_what_wikitext_tests(tmp_path: Path) -> None:
    titles = ["Aleph", "Manila", "Du Fu", "Zero"]
    records = {t: {"title": t, "extract": f"{t} is.", "topic": "x"} for t in titles}
    records["Nothing"] = {"title": "Nothing", "extract": " ", "topic": "x"}
    file = tmp_path / "summaries.json"
    file.write_text(json.dumps(records))
    found = {d.group: d.text for d in read_summaries(file)}
    assert found == {"Aleph": "Aleph\n\nAleph is.", "Zero": "Zero\n\nZero is."}


def test_damaged_summaries_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "summaries.json").write_text("{")
    with pytest.raises(DataError, match=r"summaries\.json is not readable"):
        list(read_summaries(tmp_path / "summaries.json"))


def write_page(folder: Path, place: str, sections: dict[str, Any]) -> None:
    file = folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(sections))


def test_factbook_pages_become_lines_of_prose(tmp_path: Path) -> None:
    sections = {
        "Geography": {
            "Climate": {"text": f"<p>wet&nbsp; &amp; warm</p><b>note:</b> 5 &lt; 6<br>{PROSE}"},
            "Area": {"total ": {"text": PROSE + "nested"}, "land": {"text": "5 sq km"}},
            "Terrain": {"text": PROSE, "note": PROSE + "a note"},
        },
        "Environment": {"Terrain": {"text": PROSE}},
        "Government": {"Country name": {"conventional short form": {"text": "C&ocirc;te"}}},
    }
    write_page(tmp_path, "africa/iv.json", sections)
    [page] = read_factbook(tmp_path)
    prose = PROSE.strip()
    assert (page.id, page.group) == ("iv", "Côte")
    assert page.text.split("\n\n") == [
        "Côte",
        f"Climate: wet & warm\nnote: 5 < 6\n{prose}",
        f"total: {PROSE}nested",
        f"Terrain: {prose}",
    ]


def test_factbook_leaves_out_the_world_and_pages_without_prose(tmp_path: Path) -> None:
    write_page(tmp_path, "world/xx.json", {"Introduction": {"Background": {"text": PROSE}}})
    write_page(tmp_path, "europe/aa.json", {"Introduction": {"Background": {"text": "short"}}})
    write_page(tmp_path, "europe/bb.json", {"Introduction": {"Background": {"text": PROSE}}})
    none = {"conventional short form": {"text": "none"}, "conventional long form": {"text": "Long"}}
    named = {"I": {"Background": {"text": PROSE}}, "Government": {"Country name": none}}
    write_page(tmp_path, "europe/cc.json", named)
    assert [d.group for d in read_factbook(tmp_path)] == ["bb", "Long"]


def test_novels_are_unwrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["CHAPTER I", "", "", "Emma was", "handsome,  clever", "", "and rich.", ""]
    monkeypatch.setattr(readers, "read_lazy_data", lambda _path: dict.fromkeys("fedcba", lines))
    found = list(read_novels(tmp_path / "Rdata"))
    assert [d.id for d in found] == list("abcdef")
    assert found[0].text == "CHAPTER I\n\nEmma was handsome, clever\n\nand rich."


def test_missing_novels_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "read_lazy_data", lambda _path: {"emma": ["x"]})
    with pytest.raises(DataError, match="holds 1 novels, wanted 6"):
        list(read_novels(tmp_path / "Rdata"))
