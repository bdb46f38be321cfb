"""MKL's fast kernels are asked for once, before torch, on the processors that need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu fma sse4_2 avx2 bmi2\n"
NOT_WANTED = {
    "another maker": AMD.replace("AuthenticAMD", "GenuineIntel"),
    "no AVX2": AMD.replace(" avx2", ""),
    "no fused product and sum": AMD.replace(" fma", ""),
    "nothing to read": None,
}
SAY = (
    "import sys; from pathlib import Path; {first} from asnn_goose import mkl; "
    "print(mkl.use_fast_kernels(cpuinfo=Path(sys.argv[1])), mkl.in_use(), 'torch' in sys.modules)"
)


def said(cpuinfo: Path, first: str = "", **environment: str) -> str:
    command = [sys.executable, "-c", SAY.format(first=first), str(cpuinfo)]
    kept = {k: v for k, v in os.environ.items() if k not in ("ASNN_GOOSE_MKL", "LD_PRELOAD")}
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def amd(tmp_path: Path) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(AMD)
    return path


def test_an_amd_processor_gets_them_without_torch(amd: Path) -> None:
    assert said(amd) == "True True False"


def test_the_user_may_leave_the_choice_to_mkl(amd: Path) -> None:
    assert said(amd, ASNN_GOOSE_MKL="as_is") == "False False False"


def test_it_comes_too_late_after_torch(amd: Path) -> None:
    assert said(amd, "import os; sys.modules['torch'] = os;").startswith("False False")


@pytest.mark.parametrize("text", NOT_WANTED.values(), ids=NOT_WANTED.keys())
def test_other_processors_are_left_alone(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    assert said(path) == "False False False"


def test_the_command_line_asks_before_any_verb_imports_torch() -> None:
    script = (
        "import sys; from asnn_goose import mkl; mkl.use_fast_kernels = lambda: print("
        "'asked', 'torch' in sys.modules); from asnn_goose.cli import app; "
        "app(['doctor', '--help'], standalone_mode=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "asked False" in done.stdout
