"""The longest kept beginning is found, whatever else is kept."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asnn_goose.infer.server.prefixes import Prefixes, common, key_of

# Few different tokens, so that beginnings coincide; one that needs all bytes to be in order.
TOKENS = st.lists(st.sampled_from([0, 1, 256, 70_000]), max_size=6)


def filled(members: list[list[int]]) -> Prefixes:
    prefixes = Prefixes()
    for tokens in members:
        prefixes.add(key_of(tokens))
    return prefixes


@settings(deadline=None)
@given(st.lists(TOKENS, max_size=12), TOKENS)
def test_longest_and_shared_are_those_of_a_plain_search(
    members: list[list[int]], wanted: list[int]
) -> None:
    prefixes = filled(members)
    begins = [m for m in members if m and wanted[: len(m)] == m]
    longest = max(begins, key=len, default=None)
    assert prefixes.longest(key_of(wanted)) == (None if longest is None else key_of(longest))
    most = max((common(key_of(m), key_of(wanted)) for m in members), default=0)
    assert prefixes.shared(key_of(wanted)) == most


@settings(deadline=None)
@given(st.lists(TOKENS, min_size=1, max_size=8))
def test_what_is_removed_is_not_found(members: list[list[int]]) -> None:
    prefixes = filled(members)
    gone = key_of(members[0])
    prefixes.remove(gone)
    assert prefixes.longest(gone) != gone
    assert len(prefixes) == len({key_of(m) for m in members}) - 1


def test_common_counts_tokens_not_bytes() -> None:
    assert common(key_of([5, 256]), key_of([5, 257])) == 1
    assert common(key_of([5, 6]), key_of([5])) == 1
