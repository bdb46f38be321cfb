"""The sound files that are damaged are read as they are: a reader that has changed is seen."""

from __future__ import annotations

from pathlib import Path

from tests.campaign.fuzz_readers import outcome, readers


def test_what_is_not_damaged_is_read(tmp_path: Path) -> None:
    found = {}
    for number, reader in enumerate(readers(tmp_path)):
        place = tmp_path / f"{number}"
        place.mkdir()
        (place / reader.name).write_bytes(reader.sound)
        found[reader.name, number] = outcome(reader, place / reader.name)
    assert set(found.values()) == {"read"}, found
