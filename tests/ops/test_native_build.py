"""Why there are no compiled kernels is said in words; with them, PyTorch is not needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asnn_goose.ops import native_available, native_build, native_status

REPORT = "from asnn_goose.ops import *; print(native_available(), native_status())"

WITHOUT_TORCH = """
import ctypes, sys
import numpy as np
from asnn_goose import _native

def run(threads):
    shape = B, T, H, N = 4, 8, 8, 64
    random = np.random.default_rng(0)
    inputs = [random.uniform(0, 0.1, shape).astype(np.float32) for _ in range(6)]
    state, final = np.zeros((2, B, H, N, N), np.float32)
    y, p = np.full((2, *shape), np.nan, np.float32)
    address = lambda x: x.ctypes.data
    _native.wkv7_forward(
        sizes=shape, inputs=tuple(map(address, inputs)), state=address(state),
        outputs=tuple(map(address, (y, p, final))), threads=threads,
    )
    return y

assert "torch" not in sys.modules
assert not hasattr(ctypes.CDLL(None), "GOMP_parallel")
assert np.isfinite(run(1)).all() and (run(3) == run(1)).all()
"""


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_switch_turns_the_kernels_off():
    assert python(REPORT, ASNN_GOOSE_NATIVE="0") == "False turned off by ASNN_GOOSE_NATIVE=0"


def test_missing_extension_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "asnn_goose._native", None)
    assert "installed without a working C++20 compiler" in native_build._obstacle()


@pytest.mark.skipif(not native_available(), reason=native_status())
def test_status_names_the_instruction_set():
    assert python(REPORT, ASNN_GOOSE_ISA="baseline").startswith("True in use, instruction set base")


@pytest.mark.skipif(not native_available(), reason=native_status())
def test_status_explains_an_instruction_set_that_is_not_there():
    status = python("from asnn_goose.ops import *; print(native_status())", ASNN_GOOSE_ISA="mmx")
    assert status.startswith("built, but cannot run: ASNN_GOOSE_ISA is 'mmx'")


@pytest.mark.skipif(not native_available(), reason=native_status())
def test_kernels_run_without_torch_on_their_own_threads():
    python(WITHOUT_TORCH)
