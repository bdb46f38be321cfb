"""How many cores there are for us, and how OpenMP's threads wait for work.

That is settled when torch is first imported.

As GNU's library has it, a thread without work spins for milliseconds. Where the cores are its own
that costs nothing; beside another busy process it burns the time slice that the thread it waits
for would need, and every parallel operation of a training step waits that way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping

SPINS = "1000"
"""Some ten microseconds, as long as the gaps within a step are, and far below a time slice."""

OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Settings by which a user says how threads wait."""


def wait_briefly(environment: MutableMapping[str, str] | None = None) -> bool:
    """Let waiting threads go to sleep soon, unless the environment says how they are to wait.

    For this process, or for those that get the `environment`. Has an effect only before torch is
    first imported: call it first thing. True where it was set now; False where the user has set it,
    or where torch is there already.
    """
    target: MutableMapping[str, str] = os.environ if environment is None else environment
    # What a user has set is meant; and OpenMP reads its settings once, when torch loads it.
    if waiting(target) is not None or (environment is None and "torch" in sys.modules):
        return False
    target["GOMP_SPINCOUNT"] = SPINS
    return True


def waiting(environment: Mapping[str, str]) -> str | None:
    """The setting of an environment that says how threads wait, such as `GOMP_SPINCOUNT=1000`."""
    return next((f"{name}={environment[name]}" for name in OWN if name in environment), None)


def usable_cores() -> int:
    """Cores that this process may use."""
    # Not how many the machine has: containers and schedulers give fewer.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
