"""How OpenMP's threads wait is set once, before torch, and never over the user's own word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asnn_goose.threads import OWN, wait_briefly, waiting

SAY = (
    "import os, sys, asnn_goose.threads as t; {first} set_ = t.wait_briefly(); "
    "print(set_, os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
)


def said(first: str, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in OWN}
    command = [sys.executable, "-c", SAY.format(first=first)]
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_it_is_set_in_a_fresh_process_without_torch() -> None:
    assert said("") == "True 1000 False"


@pytest.mark.parametrize("name", OWN)
def test_what_the_user_has_set_stays(name: str) -> None:
    kept = "5" if name == "GOMP_SPINCOUNT" else "None"
    assert said("", **{name: "5"}) == f"False {kept} False"


def test_it_comes_too_late_after_torch() -> None:
    assert said("sys.modules['torch'] = os;") == "False None True"


def test_other_processes_get_it_in_their_environment() -> None:
    environment: dict[str, str] = {}
    assert wait_briefly(environment)
    assert waiting(environment) == "GOMP_SPINCOUNT=1000"
    assert not wait_briefly(environment)


def test_the_command_line_sets_it_before_any_verb_imports_torch() -> None:
    script = (
        "import os, sys; from asnn_goose.cli import app; app(['doctor', '--help'], "
        "standalone_mode=False); print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    kept = {k: v for k, v in os.environ.items() if k not in OWN}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("1000 False")
