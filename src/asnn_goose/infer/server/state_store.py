"""States of prompts' beginnings, so that nothing is read twice.

A state is small and of one size however much it has read: keeping, forking and going back to one
costs a copy of some megabytes. A key-value cache would have to keep all of the text instead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from asnn_goose.infer.backend import SequenceState
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.prefixes import WIDTH, Prefixes, key_of
from asnn_goose.infer.server.state_folder import StateFolder

WORTH = 16
"""Tokens that a state must save reading again to be worth keeping."""


class StateStore:
    """A bounded store, least recently used first to go. Not for several threads.

    memory  bytes of states in memory; 0 keeps none
    folder  where they are kept as well, if anywhere
    hits, misses  how often a beginning was found, and how often not
    """

    def __init__(self, engine: Engine, *, memory: int, folder: StateFolder | None = None) -> None:
        self._engine, self._memory, self._folder = engine, memory, folder
        self._states: OrderedDict[bytes, SequenceState] = OrderedDict()
        self._prefixes = Prefixes()
        self.nbytes = self.hits = self.misses = 0
        for key in folder.keys() if folder else ():
            self._prefixes.add(key)

    def __len__(self) -> int:
        return len(self._prefixes)

    def begin(self, tokens: Sequence[int]) -> tuple[int, SequenceState]:
        """The longest kept beginning that leaves a token to read: its length, and a state of it."""
        # A token must be left: logits come from reading, and none are kept.
        wanted = key_of(tokens[:-1])
        while (key := self._prefixes.longest(wanted)) is not None:
            state = self._take(key)
            if state is not None:
                self.hits += 1
                # A fork: the kept state must stay what it is.
                return len(key) // WIDTH, self._engine.fork(state)
            self._prefixes.remove(key)
        self.misses += 1
        return 0, self._engine.start()

    def marks(self, tokens: Sequence[int], read: int, boundaries: Sequence[int] = ()) -> list[int]:
        """Where to keep a state on the way through a prompt of which `read` tokens are read.

        At the given boundaries (the end of a system prompt), where the prompt leaves what an
        earlier one said, and before its last token; each only if it is worth it.
        """
        if not self._memory:
            return []
        last, marks = read, list[int]()
        for place in sorted({*boundaries, self._prefixes.shared(key_of(tokens)), len(tokens) - 1}):
            # A copy of the state and a place in the store cost more than reading a few tokens.
            if last + WORTH <= place < len(tokens):
                marks.append(place)
                last = place
        return marks

    def keep(self, tokens: Sequence[int], state: SequenceState) -> None:
        """Keep the state of these tokens, which nobody may change any more."""
        key = key_of(tokens)
        if not self._memory or not key:
            return
        known = key in self._states
        self._put(key, state)
        if self._folder and not known and key not in self._folder:
            self._forget(self._folder.write(key, state))

    def close(self) -> None:
        """Wait until all is on disk."""
        if self._folder:
            self._folder.close()

    def _take(self, key: bytes) -> SequenceState | None:
        if key in self._states:
            self._states.move_to_end(key)
            return self._states[key]
        state = self._folder.load(key) if self._folder else None
        if state is not None:
            self._put(key, state)
        return state

    def _put(self, key: bytes, state: SequenceState) -> None:
        if key not in self._states:
            self.nbytes += state.nbytes + len(key)
            self._states[key] = state
        self._states.move_to_end(key)
        self._prefixes.add(key)
        while self.nbytes > self._memory:
            oldest, gone = self._states.popitem(last=False)
            self.nbytes -= gone.nbytes + len(oldest)
            self._forget([oldest])

    def _forget(self, keys: Sequence[bytes]) -> None:
        """Where a state is neither in memory nor on disk any more, it is no longer looked for."""
        for key in keys:
            if key not in self._states and not (self._folder and key in self._folder):
                self._prefixes.remove(key)
