"""Token sequences of which the longest that begins another is found fast."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

WIDTH = 4
"""Bytes of a token in a key, most significant first, so that keys sort as their tokens do."""


def key_of(tokens: Sequence[int]) -> bytes:
    """A token sequence as bytes."""
    return np.asarray(tokens, ">u4").tobytes()


def common(a: bytes, b: bytes) -> int:
    """Number of tokens with which both keys begin."""
    length = min(len(a), len(b)) // WIDTH
    left, right = np.frombuffer(a, ">u4", length), np.frombuffer(b, ">u4", length)
    differ = left != right
    return int(differ.argmax()) if differ.any() else length


class Prefixes:
    """A sorted set of keys.

    Whatever begins a key sorts before it, and everything between the two begins with it as well:
    so a key's neighbours share as much with it as any other in the set.
    """

    def __init__(self) -> None:
        self._keys: list[bytes] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes) -> None:
        """Put a key in, which may be there already."""
        if not self._has(key):
            insort(self._keys, key)

    def remove(self, key: bytes) -> None:
        """Take a key out, if it is there."""
        if self._has(key):
            del self._keys[bisect_left(self._keys, key)]

    def longest(self, key: bytes) -> bytes | None:
        """The longest member that begins this key; the key itself counts."""
        while key:
            place = bisect_left(self._keys, key)
            if place < len(self._keys) and self._keys[place] == key:
                return key
            if not place:
                return None
            key = key[: WIDTH * common(key, self._keys[place - 1])]
        return None

    def shared(self, key: bytes) -> int:
        """The most tokens that this key shares with the beginning of any member."""
        place = bisect_left(self._keys, key)
        return max(
            (common(key, near) for near in self._keys[max(0, place - 1) : place + 1]), default=0
        )

    def _has(self, key: bytes) -> bool:
        place = bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key
