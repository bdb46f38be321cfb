"""What can happen to a command: signals, calls of the system that fail, and itself once more."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.campaign.shim import ALL, CHANGES, FOR_EVER, WRITES


def last_words(said: str) -> str:
    """The end of what a command said, in one line."""
    return " | ".join(said.splitlines()[-3:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A signal that comes, or the error of calls on files: so many in a row, of some kinds."""

    calls: int = CHANGES
    times: int = 1
    error: int = 0
    number: int = 0

    @property
    def _ends(self) -> tuple[int, ...]:
        """Exit codes that are right; 1 is that of a study of which a part failed."""
        return (0, -self.number, 128 + self.number) if self.number else (0, 1, 2)

    def unfit(self, code: int, said: str) -> Iterator[str]:
        """What is wrong with how a command ended that it happened to."""
        last = last_words(said)
        if "Traceback" in said:
            yield f"a traceback: {last}"
        elif code not in self._ends:
            yield f"exit code {code}: {last}"
        elif self.error and code and os.strerror(self.error) not in said:
            yield f"does not say {os.strerror(self.error)!r}: {last}"


SIGNALS = {
    "KILL": Kind(number=signal.SIGKILL),
    "TERM": Kind(number=signal.SIGTERM),
    "INT INT": Kind(number=signal.SIGINT, times=2),
}
ERRORS = {
    "no space": Kind(calls=WRITES, times=FOR_EVER, error=errno.ENOSPC),
    "quota": Kind(calls=WRITES, times=FOR_EVER, error=errno.EDQUOT),
    "read-only": Kind(times=FOR_EVER, error=errno.EROFS),
    "EIO": Kind(calls=ALL, error=errno.EIO),
}
TWICE = "twice"
"""The same command begins on the same folder and cache while it is under way."""

KINDS = SIGNALS | ERRORS | {TWICE: Kind()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """Something that happens once, and when: at a share of the clock's time, or of the calls."""

    name: str
    by_clock: bool
    share: float
    pause: float = 0.0

    @property
    def kind(self) -> Kind:
        """What happens."""
        return KINDS[self.name]

    @classmethod
    def drawn(cls, chance: random.Random, names: Sequence[str]) -> Blow:
        """Any of some kinds, at any time."""
        name = chance.choice(names)
        return cls(
            name=name,
            by_clock=name == TWICE or (name in SIGNALS and chance.random() < 0.4),
            share=chance.random(),
            pause=chance.random() * 0.2,
        )

    @property
    def when(self) -> str:
        """In words."""
        where = "time" if self.by_clock else "calls"
        return f"{self.share:.1%} of its {where}"
