"""The first losses of recipes are those written down with `python -m tests.golden.curves`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.golden.curves import HERE, changed, recipe_files, write_inputs, written

FEW = ("lab-dpo", "lab-rwkv6", "lab-spikingbert", "lab-ternary", "smollm2-spiking")
"""One of each kind; the campaign looks at all of them."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        write_inputs(folder)
        yield folder


def test_no_file_is_of_a_recipe_that_is_gone() -> None:
    assert {path.stem for path in HERE.glob("*.json")} <= set(recipe_files())


@pytest.mark.skipif(
    not written(), reason="no curves are written down for this machine's instruction set"
)
@pytest.mark.parametrize("name", FEW)
def test_losses_are_those_written_down(name: str, inputs: Path) -> None:
    assert changed(name, inputs) == []


def test_another_number_is_seen(inputs: Path) -> None:
    """Else every other test of this file would pass whatever a recipe does."""
    assert changed("lab-rwkv6", inputs, other="stage.0.lr=4e-3")
