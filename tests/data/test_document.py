"""Splits are a stable function of the group's name."""

from collections import Counter

import pytest

from asnn_goose.data.document import DataError, check_split, split_of


def test_splits_never_change() -> None:
    # A change here would put texts that were trained on into the tests of older students.
    found = {group: split_of(group) for group in ("1790", "1803", "1807", "2020", "Côte d'Ivoire")}
    assert found == {
        "1790": "train",
        "1803": "validation",
        "1807": "test",
        "2020": "test",
        "Côte d'Ivoire": "train",
    }


def test_shares_are_ninety_five_five() -> None:
    count = Counter(split_of(f"group {number}") for number in range(20_000))
    assert count["train"] == pytest.approx(18_000, rel=0.01)
    assert count["validation"] == pytest.approx(1_000, rel=0.1)
    assert count["test"] == pytest.approx(1_000, rel=0.1)


def test_unknown_split_is_named() -> None:
    with pytest.raises(DataError, match=r"'dev' is not one of train, validation, test, all"):
        check_split("dev")
