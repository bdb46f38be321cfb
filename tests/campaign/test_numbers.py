"""What campaign.numbers does for hours, for seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.campaign import inputs, numbers


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASNN_GOOSE_CACHE", str(folder / "cache"))
        inputs.write_inputs(folder)
        yield folder


@pytest.mark.parametrize("kind", numbers.KINDS)
def test_bf16_learns_what_fp32_learns(kind: str, given: Path) -> None:
    gap = numbers.bf16_gap(kind, given, steps=4)
    assert 0 < gap <= numbers.BF16_BOUND / 5


@pytest.mark.parametrize(("log_w", "a"), numbers.LIMITS)
def test_the_recurrence_is_sound_at_its_limits(log_w: float, a: float) -> None:
    assert 0 < numbers.state_error(log_w, a, tokens=2000) <= numbers.STATE_BOUND
