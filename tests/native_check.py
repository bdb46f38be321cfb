"""Run the tests of the compiled code on a build under sanitizers: `make native-check`.

usage: native_check.py FOLDER_OF_BUILD [pytest arguments]
"""

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = ("tests/infer/test_kernels.py", "tests/infer/test_native_engine.py")


def load(build: Path) -> None:
    """Put the module that was built in `build` in the place of the installed one."""
    (file,) = build.glob("_native*.so")
    spec = importlib.util.spec_from_file_location("asnn_goose._native", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["asnn_goose._native"] = module
    import asnn_goose

    asnn_goose._native = module


if __name__ == "__main__":
    load(Path(sys.argv[1]))
    sys.exit(pytest.main(sys.argv[2:] or [*TESTS, "-q", "-p", "no:cacheprovider"]))
