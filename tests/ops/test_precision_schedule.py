from __future__ import annotations

import pytest

from asnn_goose.ops.precision_schedule import checked_share, remainder


def test_it_falls_along_a_cosine_to_nothing() -> None:
    found = [remainder(share, until=0.8) for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert found == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466, 0.0, 0.0])


def test_it_rises_in_a_line_while_it_warms_up() -> None:
    found = [remainder(share, until=0.6, warmup=0.2) for share in (0.0, 0.05, 0.2, 0.4, 0.6)]
    assert found == pytest.approx([0.0, 0.25, 1.0, 0.5, 0.0])


def test_nothing_is_left_of_what_never_began() -> None:
    assert remainder(0.0, until=0.0) == 0.0


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_beyond_the_stage_is_refused(share: float) -> None:
    assert checked_share(0.5) == 0.5
    with pytest.raises(ValueError, match="must be 0 to 1"):
        checked_share(share)
