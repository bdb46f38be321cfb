"""Strings of games."""

import json
from pathlib import Path

from asnn_goose.data.readers.game_texts import (
    CRAWL_BUNDLE,
    read_crawl,
    read_json_strings,
    read_marked_strings,
)

SAID = "A very old sword, which somebody forged long before your time."
OTHERS = [f"{SAID} {letter} is another of them, and it shines." for letter in "bcde"]


def test_strings_of_json_are_found_at_any_depth_once(tmp_path: Path) -> None:
    items = [
        {"id": SAID + " as an id", "description": f"<color_red>{SAID}</color>", "weight": 3},
        {"//": SAID + " as a comment", "dialogue": {"lines": [*OTHERS, SAID, None, True]}},
        {"name": "short sword", "text": "You hear <name> say quite a lot of things to %s."},
    ]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "items.json").write_text(json.dumps(items))
    [found] = read_json_strings(tmp_path, pattern="**/*.json")
    assert (found.id, found.group) == ("sub/items.json", "sub/items.json")
    assert found.text.split("\n\n") == [SAID, *OTHERS]


def test_marked_strings_keep_paragraphs_and_quotes(tmp_path: Path) -> None:
    scenario = f'''id="{SAID} which is not translated"
    message= _ "{SAID} ""Is it?"" he asked.

{OTHERS[0]}"
    story=_"{OTHERS[1]} {{MACRO}}"
    story= _"{OTHERS[2]}"'''
    (tmp_path / "one.cfg").write_text(scenario)
    [found] = read_marked_strings(tmp_path, pattern="*.cfg", mark=r'_\s*"((?:[^"]|"")*)"')
    assert found.text.split("\n\n") == [f'{SAID} "Is it?" he asked.', OTHERS[0], OTHERS[2]]


def test_backticks_mark_strings_as_well(tmp_path: Path) -> None:
    lines = "\n".join(f"\tconversation\n\t\t`\t{text}`" for text in [SAID, *OTHERS])
    (tmp_path / "a mission.txt").write_text(f"{lines}\n`Take this to <planet> as soon as you can.`")
    [found] = read_marked_strings(tmp_path, pattern="*.txt", mark=r"`([^`]*)`")
    assert found.text.split("\n\n") == [SAID, *OTHERS]


def test_crawl_entries_are_bundled(tmp_path: Path) -> None:
    entries = [
        f"name {n}\n\n{SAID[:40]}\nnumber {'abcdefghijklmnopqrstuvwxyz'[n]}, {SAID}"
        for n in range(25)
    ]
    text = "# a comment of the file that has a good many words\n%%%%\n" + "\n%%%%\n".join(entries)
    (tmp_path / "monsters.txt").write_text(
        text + "\n%%%%\nx\n\nw:10\n@The_monster@ shouts at you as loud as it can."
    )
    (tmp_path / "quotes.txt").write_text(text)
    first, second = read_crawl(tmp_path, patterns=("[!q]*.txt",))
    assert (first.group, second.group) == ("monsters/0", "monsters/1")
    # The first piece is the comment before the first mark.
    assert first.text.count(SAID) == CRAWL_BUNDLE - 1
    assert second.text.count(SAID) == 25 - CRAWL_BUNDLE + 1
    assert f"{SAID[:40].strip()} number a, " in first.text
    assert not any(part in first.text + second.text for part in ("name 3", "comment", "@", "w:10"))
