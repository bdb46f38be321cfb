"""WikiText put together again."""

from __future__ import annotations

from pathlib import Path

import pytest

from asnn_goose.data.document import DataError
from asnn_goose.eval.detokenise import detokenised
from asnn_goose.eval.texts import detokenised_text


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        (
            " Robert is a film , television and theatre actor . ",
            "Robert is a film, television and theatre actor.",
        ),
        (" a 1 @,@ 200 @.@ 5 kg well @-@ fed goose ", "a 1,200.5 kg well-fed goose"),
        (' He said " fly ! " and it flew . ', 'He said "fly!" and it flew.'),
        (" the fox 's goose ( and hers ) ; it 's late ", "the fox's goose (and hers); it's late"),
        (" = = Early life = = \n The start . ", "= = Early life = =\nThe start."),
        (" they do n't , he wo n't ", "they don't, he won't"),
        (" about $ 5 at 7 : 30 ", "about $5 at 7: 30"),
        ("nothing to do here.", "nothing to do here."),
    ],
)
def test_what_cutting_left_is_undone(cut: str, whole: str) -> None:
    assert detokenised(cut) == whole


def test_it_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "wiki.txt"
    file.write_text(" a goose , well @-@ fed . ", encoding="utf-8")
    text = detokenised_text(str(file))
    ((path, split),) = text.parts
    assert Path(path).read_text(encoding="utf-8") == "a goose, well-fed."
    assert split == "all"
    assert text.words == pytest.approx(7 / 3)
    assert detokenised_text(str(file)).parts == text.parts
    with pytest.raises(DataError, match=r"only a \.txt file"):
        detokenised_text("in-domain")
