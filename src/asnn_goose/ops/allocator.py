"""Keep the C library from handing large tensors back to the system between steps.

glibc serves blocks above 32 MB with fresh pages each time, and every page is then faulted in and
zeroed again: over logits of a 49 152-word vocabulary, a log-softmax ran 3.4 times slower for it
(`bench/allocator.py`).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""

# The largest tensors of a training step, a chunk of logits or a gradient, stay below this.
LARGEST = 1 << 30
NEVER = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let freed blocks up to 1 GiB stay with this process; False where the C library is not glibc.

    The process then holds its peak until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # musl and others have no mallopt, and no threshold that would have to be moved.
    if mallopt is None:
        return False
    # Both: setting either switches glibc's own adjusting off, and the other would keep its small
    # default.
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, NEVER))
