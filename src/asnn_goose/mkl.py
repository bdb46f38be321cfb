"""Matrix products of torch on AMD's processors: MKL's fast kernels instead of its cautious ones.

MKL looks for its own maker's processors and gives others kernels that reach less of what the core
can do: on Zen 3 fp32 products of SmolLM2's shapes take 1.1 to 1.3 times as long
(bench/mkl_kernels.py). The kernels for AVX2 and AVX-512 run there as well; sums come in another
order, so that results differ in the last bits, as they do between any two machines.
"""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

SETTING = "ASNN_GOOSE_MKL"
"""`as_is` in the environment leaves MKL's choice alone."""

VENDORS = ("AuthenticAMD", "HygonGenuine")
ASKED = "mkl_serv_intel_cpu_true"


def use_fast_kernels(*, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Let MKL take its fast kernels on AMD's processors with AVX2.

    Has an effect only before torch is first imported: call it first thing. True where it was done;
    False where it is too late, not such a processor, not compiled, or the user has said `as_is`.
    """
    if "torch" in sys.modules or os.environ.get(SETTING) == "as_is" or not _slighted(cpuinfo):
        return False
    return _load()


def in_use() -> bool:
    """Whether the function that MKL asks is ours, for all libraries of this process."""
    try:
        address = ctypes.cast(getattr(ctypes.CDLL(None), ASKED), ctypes.c_void_p).value
        ours = ctypes.cast(getattr(ctypes.CDLL(_module()), ASKED), ctypes.c_void_p).value
    except (AttributeError, OSError, TypeError):
        return False
    return address == ours


def _slighted(cpuinfo: Path) -> bool:
    """Whether this is a processor that MKL knows nothing of, with the instructions it could use."""
    try:
        text = cpuinfo.read_text()
    except OSError:  # another system than Linux
        return False
    return any(vendor in text for vendor in VENDORS) and " avx2 " in text and " fma " in text


def _module() -> str | None:
    spec = find_spec("asnn_goose._native")
    return spec.origin if spec is not None else None


def _load() -> bool:
    path = _module()
    if path is None:
        return False
    try:
        library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError:  # compiled for another Python or system: doctor says so
        return False
    return hasattr(library, ASKED)
