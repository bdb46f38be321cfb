"""The Factbook's prose, on small pages of the same layout."""

import json
from pathlib import Path
from typing import Any

from asnn_goose.data.readers.factbook import read_factbook

PROSE = "long enough to be prose. " * 10


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
