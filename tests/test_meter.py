from __future__ import annotations

import subprocess
import sys

import torch

from asnn_goose.meter import peak_memory


def test_peak_grows_with_what_is_held_and_stays() -> None:
    before = peak_memory(torch.device("cpu"))
    held = torch.ones(before // 4 + 25_000_000)  # more than the peak so far
    during = peak_memory(torch.device("cpu"))
    del held
    assert during > before + 90_000_000
    assert peak_memory(torch.device("cpu")) > during - 5_000_000  # the kernel counts in batches


def test_a_parent_does_not_count() -> None:
    held = torch.ones(200_000_000)  # 0.8 GB
    script = (
        "from asnn_goose.meter import peak_memory; import torch;"
        "print(peak_memory(torch.device('cpu')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 1e7 < int(found.stdout) < 7e8
    assert held[0] == 1
