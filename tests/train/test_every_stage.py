"""Two processes train what one does on the same batches, in every kind of stage, and measure it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.campaign.inputs import write_inputs
from tests.train import jobs
from tests.train.crew import Crew

from asnn_goose.study.smoke import STAGES

WHOLE = sorted(STAGES.keys() | jobs.MEASURED)
IN_PARTS = ("align", "distill", "equilibrium", "slide")
"""One of each kind of pass; tests/campaign/processes.py has all, and many steps."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which two processes have trained every kind."""
    folder = tmp_path_factory.mktemp("stages")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        write_inputs(folder)
        crew = Crew(jobs.train_stages, folder, {False: WHOLE, True: list(IN_PARTS)}, 1)
        assert crew.codes() == [0, 0], crew.told
        yield folder


@pytest.mark.parametrize("kind", WHOLE)
def test_two_equal_one(kind: str, trained: Path) -> None:
    jobs.run_kind(trained, kind, trained / kind, 2, shard=False)
    wanted = load_file(trained / kind / "model" / "model.safetensors")
    for shard in (False, True) if kind in IN_PARTS else (False,):
        found = load_file(trained / f"{kind}-{shard}" / "model" / "model.safetensors")
        for name, tensor in wanted.items():
            error = jobs.relative(found[name], tensor)
            assert error <= 1e-5, f"{name}, in parts: {shard}"
