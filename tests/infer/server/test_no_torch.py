"""The server's room needs no torch, and says what is missing."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import asnn_goose.infer.server

MODULES = [
    module.name
    for module in pkgutil.iter_modules(asnn_goose.infer.server.__path__, "asnn_goose.infer.server.")
]


def test_importing_the_room() -> None:
    script = (
        "import sys\n"
        + "\n".join(f"import {name}" for name in [*MODULES, "asnn_goose.eval.serving"])
        + "\nheavy = {'torch', 'transformers'} & {n.split('.')[0] for n in sys.modules}\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(MODULES) > 10
