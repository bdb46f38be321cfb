"""Kept states: what is found is what reading gives; bounded; on disk; never another model's."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.prefixes import key_of
from asnn_goose.infer.server.state_folder import StateFolder
from asnn_goose.infer.server.state_store import WORTH, StateStore
from asnn_goose.infer.state_file import fingerprint

TEXT = [int(n) for n in range(60)]
PLENTY = 1 << 24


def read(engine: Engine, tokens: Sequence[int]) -> bytes:
    state = engine.start()
    engine.prefill(state, tokens)
    return state.to_bytes()


def keep(engine: Engine, store: StateStore, tokens: Sequence[int]) -> None:
    state = engine.start()
    engine.prefill(state, tokens)
    store.keep(tokens, state)


def test_the_longest_beginning_is_found_and_may_be_changed(engine: Engine) -> None:
    store = StateStore(engine, memory=PLENTY)
    for length in (10, 30, 20):
        keep(engine, store, TEXT[:length])
    for _ in range(2):  # what is given away is a copy: the second time finds the same
        length, state = store.begin(TEXT)
        assert length == 30
        assert state.to_bytes() == read(engine, TEXT[:30])
        engine.prefill(state, [7])
    assert store.begin(TEXT[:25])[0] == 20
    assert store.begin([1, *TEXT])[0] == 0
    assert (store.hits, store.misses) == (3, 1)


def test_a_token_is_left_to_read(engine: Engine) -> None:
    store = StateStore(engine, memory=PLENTY)
    keep(engine, store, TEXT[:30])
    assert store.begin(TEXT[:30])[0] == 0
    assert store.begin(TEXT[:31])[0] == 30


def test_the_least_recently_used_goes_first(engine: Engine) -> None:
    one = engine.start().nbytes + 4 * 20
    store = StateStore(engine, memory=2 * one + 100)
    texts = [[n, *TEXT[:19]] for n in range(3)]
    keep(engine, store, texts[0])
    keep(engine, store, texts[1])
    assert store.begin([*texts[0], 1])[0] == 20
    keep(engine, store, texts[2])
    assert [store.begin([*text, 1])[0] for text in texts] == [20, 0, 20]
    assert store.nbytes <= 2 * one + 100
    assert len(store) == 2


def test_marks_are_where_it_is_worth_it(engine: Engine) -> None:
    store = StateStore(engine, memory=PLENTY)
    assert store.marks(TEXT, 0, [20]) == [20, 59]
    assert store.marks(TEXT, 50, [20]) == []
    assert store.marks(TEXT[:WORTH], 0) == []
    keep(engine, store, [*TEXT[:40], 99, 99])
    assert store.marks(TEXT, 0) == [40, 59]
    assert StateStore(engine, memory=0).marks(TEXT, 0, [20]) == []


def test_a_new_store_goes_on_from_the_folder(engine: Engine, tmp_path: Path) -> None:
    first = StateStore(engine, memory=PLENTY, folder=StateFolder(tmp_path, engine, limit=PLENTY))
    keep(engine, first, TEXT[:30])
    first.close()
    second = StateStore(engine, memory=PLENTY, folder=StateFolder(tmp_path, engine, limit=PLENTY))
    length, state = second.begin(TEXT)
    assert length == 30
    assert state.to_bytes() == read(engine, TEXT[:30])


def test_what_left_the_memory_comes_back_from_the_folder(engine: Engine, tmp_path: Path) -> None:
    one = engine.start().nbytes + 4 * 30
    store = StateStore(engine, memory=one, folder=StateFolder(tmp_path, engine, limit=PLENTY))
    keep(engine, store, TEXT[:30])
    keep(engine, store, TEXT[30:])
    assert store.begin(TEXT)[0] == 30
    assert store.nbytes <= one


def test_the_folder_is_bounded_too(engine: Engine, tmp_path: Path) -> None:
    one = engine.start().nbytes + 4 * 20
    folder = StateFolder(tmp_path, engine, limit=2 * one + 100)
    store = StateStore(engine, memory=one, folder=folder)
    for n in range(4):
        keep(engine, store, [n, *TEXT[:19]])
    store.close()
    assert len(list(tmp_path.rglob("*.state"))) == 2
    assert store.begin([0, *TEXT[:19], 1])[0] == 0
    assert store.begin([3, *TEXT[:19], 1])[0] == 20


def test_two_servers_share_a_folder(engine: Engine, tmp_path: Path) -> None:
    """Each removes what goes beyond its limit, of the other's too; both say what is right."""
    one = engine.start().nbytes + 4 * 20
    stores = [
        StateStore(engine, memory=one, folder=StateFolder(tmp_path, engine, limit=3 * one))
        for _ in range(2)
    ]

    def serve(store: StateStore) -> int:
        found = 0
        for n in random.Random(0).choices(range(5), k=24):
            text = [n, *TEXT[:19]]
            length, state = store.begin([*text, 1])
            if length:
                assert state.to_bytes() == read(engine, text)
            keep(engine, store, text)
            found += length
            StateFolder(tmp_path, engine, limit=0).close()  # a third one begins, and reads
        store.close()
        return found

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(serve, stores))
    left = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert all(name.endswith(".state") for name in left)


def test_what_a_killed_server_left_half_written_goes(engine: Engine, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path, engine, limit=PLENTY)
    place = next(tmp_path.iterdir())
    (place / ".a.state.xxxxxxxx.unfinished").mkdir()
    folder.close()
    StateFolder(tmp_path, engine, limit=PLENTY).close()
    assert not list(place.iterdir())


def test_another_models_states_are_refused(
    engine: Engine, other_engine: Engine, tmp_path: Path
) -> None:
    store = StateStore(engine, memory=PLENTY, folder=StateFolder(tmp_path, engine, limit=PLENTY))
    keep(engine, store, TEXT[:30])
    store.close()
    theirs = tmp_path / f"{fingerprint(engine.model)}-native"
    ours = tmp_path / f"{fingerprint(other_engine.model)}-native"
    assert ours != theirs
    shutil.copytree(theirs, ours)
    folder = StateFolder(tmp_path, other_engine, limit=PLENTY)
    assert key_of(TEXT[:30]) in folder
    other = StateStore(other_engine, memory=PLENTY, folder=folder)
    assert other.begin(TEXT)[0] == 0
    assert len(other) == 0
    other.close()
    assert not list(ours.iterdir())


@pytest.mark.parametrize("damage", ["cut", "changed", "tokens", "name"])
def test_a_damaged_state_is_none(engine: Engine, tmp_path: Path, damage: str) -> None:
    first = StateStore(engine, memory=PLENTY, folder=StateFolder(tmp_path, engine, limit=PLENTY))
    keep(engine, first, TEXT[:30])
    first.close()
    file = next(tmp_path.rglob("*.state"))
    data = bytearray(file.read_bytes())
    place = data.index(b'"tokens": "') + 11 if damage == "tokens" else len(data) - 1
    data[place] ^= 1
    file.write_bytes(data[:-9] if damage == "cut" else data)
    if damage == "name":
        file.rename(file.with_stem("0" * 32))
    second = StateStore(engine, memory=PLENTY, folder=StateFolder(tmp_path, engine, limit=PLENTY))
    assert second.begin(TEXT)[0] == 0
    second.close()
    assert not list(tmp_path.rglob("*.state"))
