from __future__ import annotations

import pytest

from asnn_goose.names import check_name, hint, lookup

TABLE = {"rwkv7": 1, "linear": 2}


def test_a_name_leads_to_its_row() -> None:
    assert lookup(TABLE, "linear", setting="mixer") == 2


def test_a_slip_names_the_nearest_and_anything_else_all() -> None:
    with pytest.raises(ValueError, match=r"^mixer = 'rwkv': did you mean 'rwkv7'\?$"):
        lookup(TABLE, "rwkv", setting="mixer")
    with pytest.raises(ValueError, match=r"^gate = 'x': choose one of rwkv7, linear$"):
        check_name(TABLE, "x", setting="gate")
    assert hint("liner", TABLE) == "did you mean 'linear'?"


@pytest.mark.parametrize("found", [None, 7, ["rwkv7"], {"name": "rwkv7"}])
def test_what_is_no_word_is_refused_too(found: object) -> None:
    with pytest.raises(ValueError, match="mixer = "):
        lookup(TABLE, found, setting="mixer")
