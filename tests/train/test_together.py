"""A process that is gone is said, and a bug stays one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asnn_goose.train.run_errors import ProcessLost
from asnn_goose.train.together import together

SAID = "[gloo/transport/tcp/pair.cc:547] Connection closed by peer"


def raised(said: str, *, processes: int, saved: Path | None = None) -> None:
    several: Any = SimpleNamespace(num_processes=processes)
    with together(several, saved=lambda: saved):
        raise RuntimeError(said)


def test_the_last_checkpoint_is_named() -> None:
    with pytest.raises(ProcessLost, match=r"has ended; resume it from step-3 \(\[gloo"):
        raised(SAID, processes=2, saved=Path("step-3"))
    with pytest.raises(ProcessLost, match="there is no checkpoint yet"):
        raised(SAID, processes=2)


@pytest.mark.parametrize(("said", "processes"), [("a bug", 2), (SAID, 1)])
def test_anything_else_is_left_alone(said: str, processes: int) -> None:
    with pytest.raises(RuntimeError) as found:
        raised(said, processes=processes)
    assert type(found.value) is RuntimeError
