"""A C file beside its Python file, compiled when it is first needed."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.peers.peer import NotRunError


def compiled(source: Path) -> ctypes.CDLL:
    """The library made from one C file. Raises NotRunError without a compiler."""
    compiler = next((found for c in ("cc", "gcc", "clang") if (found := shutil.which(c))), None)
    if compiler is None:
        raise NotRunError(f"no C compiler (cc, gcc or clang) for {source.name}")
    with tempfile.TemporaryDirectory() as scratch:
        library = Path(scratch) / f"{source.stem}.so"
        flags = ["-O3", "-march=native", "-shared", "-fPIC"]
        command = [compiler, *flags, str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotRunError(f"{compiler} failed: {done.stderr.strip()}")
        return ctypes.CDLL(str(library))
