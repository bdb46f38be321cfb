"""Whether the compiled kernels can be used here, and if not, why.

The extension module `asnn_goose._native` is absent where the package was installed without a
working C++ compiler. Everything then still runs on PyTorch alone, only slower.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

NATIVE = "asnn_goose._native"
SWITCH = "ASNN_GOOSE_NATIVE"
"""Environment variable, read when this module is imported; 0 turns the compiled kernels off."""


def _obstacle() -> str | None:
    """Why the compiled kernels cannot be used, or None where they can."""
    if os.environ.get(SWITCH, "1") == "0":
        return f"turned off by {SWITCH}=0"
    try:
        importlib.import_module(NATIVE)
    except ModuleNotFoundError:
        return (
            "not built: the package was installed without a working C++20 compiler (GCC or Clang); "
            "with one, reinstalling makes training several times faster (pip install -v shows why "
            "a build fails)"
        )
    except ImportError as error:
        return f"built, but cannot be loaded: {error}"
    return None


# Once, at import: whether kernels are there must not change between two calls of one run, or its
# numbers would.
_OBSTACLE = _obstacle()


def native_available() -> bool:
    """True where the compiled kernels are built, loadable and not turned off."""
    return _OBSTACLE is None


def native_status() -> str:
    """One line for a person: the instruction set in use, or why there are no compiled kernels."""
    if _OBSTACLE is not None:
        return _OBSTACLE
    native: Any = importlib.import_module(NATIVE)
    try:
        return f"in use, instruction set {native.isa()} of {', '.join(native.isas())}"
    except ValueError as error:
        return f"built, but cannot run: {error}"
