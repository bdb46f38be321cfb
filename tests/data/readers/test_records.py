"""Records: articles, recipes, conversations, descriptions of packages."""

import json
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.data.readers.records import (
    TURNS,
    read_conversations,
    read_descriptions,
    read_first_texts,
    read_recipes,
    read_summaries,
)

PROSE = "This paragraph has quite enough words to be running text, they say."


def write(folder: Path, records: Any) -> Path:
    (folder / "records.json").write_text(json.dumps(records))
    return folder / "records.json"


def test_summaries_leave_out_what_wikitext_tests(tmp_path: Path) -> None:
    titles = ["Aleph", "Manila", "Du Fu", "Nero", "Olmec colossal heads", "Zero"]
    records = {t: {"title": t, "extract": f"{t} is.", "topic": "x"} for t in titles}
    records["Nothing"] = {"title": "Nothing", "extract": " ", "topic": "x"}
    found = {d.group: d.text for d in read_summaries(write(tmp_path, records))}
    assert found == {"Aleph": "Aleph\n\nAleph is.", "Zero": "Zero\n\nZero is."}


def test_damaged_summaries_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "summaries.json").write_text("{")
    with pytest.raises(DataError, match=r"summaries\.json is not readable"):
        list(read_summaries(tmp_path / "summaries.json"))


def test_only_the_first_text_of_a_line_is_read(tmp_path: Path) -> None:
    lines = [{"0": f"{n} {PROSE * 3}\n", "1": f"{n} shuffled {PROSE * 3}"} for n in "ab"]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = list(read_first_texts(tmp_path / "a.jsonl"))
    assert [d.text for d in found] == [f"a {PROSE * 3}", f"b {PROSE * 3}"]
    assert len({d.group for d in found}) == 2


def test_recipes_are_lists_of_things_and_steps(tmp_path: Path) -> None:
    steps = ["Mix it well.", "thumb|The finished batterGradually add water.", PROSE * 3]
    soup = {"title": "Soup", "ingredients": ["1 egg", "salt"], "steps": steps}
    empty = {"title": "Air", "ingredients": [], "steps": [PROSE * 4]}
    [found] = read_recipes(write(tmp_path, {"Cookbook:Soup": soup, "Cookbook:Air": empty}))
    assert (found.id, found.group) == ("Soup", "Soup")
    assert found.text == (
        "Soup\n\nIngredients:\n- 1 egg\n- salt\n\n"
        f"Steps:\n1. Mix it well.\n2. Gradually add water.\n3. {PROSE * 3}"
    )


def said(sender: str, *texts: str) -> list[dict[str, str]]:
    return [{"text": text, "sender": sender} for text in texts]


def test_conversations_are_turns_of_two_people(tmp_path: Path) -> None:
    turns = [said("x", "Hello", "how are\nyou today?"), said("y", "Fine, and how are you?")]
    talk = [*turns, *([said("x", PROSE), said("y", PROSE)] * (TURNS // 2))]
    chats = {
        "good": {"messages": talk},
        "short": {"messages": [said("x", PROSE * 9)]},
        "terse": {"messages": [said("x", "ok"), said("y", "ok")] * 200},
    }
    [found] = read_conversations(write(tmp_path, chats))
    assert (found.id, found.group) == ("good", "good")
    lines = found.text.splitlines()
    assert lines[:3] == [
        "A: Hello how are you today?",
        "B: Fine, and how are you?",
        f"A: {PROSE}",
    ]


def test_one_sender_in_two_runs_is_one_turn(tmp_path: Path) -> None:
    talk = [said("x", "One."), said("x", "Two."), *([said("y", PROSE), said("x", PROSE)] * TURNS)]
    [found] = read_conversations(write(tmp_path, {"a": {"messages": talk}}))
    assert found.text.startswith("A: One. Two.\nB: ")


def test_descriptions_keep_prose_and_families_together(tmp_path: Path) -> None:
    def stanza(name: str) -> str:
        body = f" {name} does. {PROSE}\n {PROSE}\n .\n  * a list\n  * of things\n .\n {PROSE}"
        return f"Package: {name}\nDescription-md5: 0123\nDescription-en: tool for {name}\n{body}"

    empty = "Package: empty\nDescription-md5: 1\nDescription-en: nothing\n .\n  * list"
    stanzas = [stanza("libfoo-dev"), stanza("libfoo2"), empty, stanza("python3-bar")]
    (tmp_path / "x_Translation-en").write_text("\n\n".join(stanzas) + "\n")
    found = list(read_descriptions(tmp_path, pattern="*_Translation-en"))
    assert [d.id for d in found] == ["libfoo-dev", "libfoo2", "python3-bar"]
    assert [d.group for d in found] == ["libfoo", "libfoo", "python3-bar"]
    assert found[0].text.split("\n\n") == [
        "libfoo-dev: tool for libfoo-dev",
        f"libfoo-dev does. {PROSE} {PROSE}",
        PROSE,
    ]
