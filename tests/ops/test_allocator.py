from __future__ import annotations

import subprocess
import sys

import pytest

from asnn_goose.ops import allocator

FAULTS = """
import resource, sys, torch
from asnn_goose.ops.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(12):  # aligned blocks need a few rounds until freed ones join up
    torch.empty(10 << 20).fill_(1.0)  # above 32 MB, which glibc never keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.empty(10 << 20).fill_(1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(side: str) -> int:
    command = [sys.executable, "-c", FAULTS, side]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's mallopt")
def test_large_blocks_are_not_faulted_in_again() -> None:
    assert faults("keep") * 20 < faults("fresh")


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
