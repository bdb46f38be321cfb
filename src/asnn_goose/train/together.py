"""Several processes that train one student: none goes on without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from torch.distributed import DistError

from asnn_goose.train.run_errors import ProcessLost


@contextmanager
def together(accelerator: Accelerator, *, saved: Callable[[], Path | None]) -> Iterator[None]:
    """Raise ProcessLost where an exchange with the other processes fails: one of them is gone.

    saved  gives the newest checkpoint
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo's own errors are of no class of their own.
        exchange = isinstance(error, DistError) or "gloo" in str(error)
        if accelerator.num_processes == 1 or not exchange:
            raise
        # Nothing is saved now: a checkpoint holds the generators of all processes.
        raise ProcessLost(checkpoint=saved(), said=str(error).splitlines()[0]) from error
