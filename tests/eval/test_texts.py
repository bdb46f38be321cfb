"""What `--on` stands for, and that training never saw it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from asnn_goose.data.document import DataError
from asnn_goose.eval.comparison import Protocol
from asnn_goose.eval.texts import Text, text_named, windows_of


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))


def test_groups_are_splits_of_the_training_texts() -> None:
    trained = ("sotu", "factbook")
    assert text_named("in-domain", trained_on=trained).parts == (
        ("sotu", "test"),
        ("factbook", "test"),
    )
    assert text_named("validation", trained_on=trained).parts == (
        ("sotu", "validation"),
        ("factbook", "validation"),
    )
    assert text_named("out-of-domain", trained_on=trained).parts == (("austen", "test"),)
    assert text_named("wiki_vital", trained_on=trained).parts == (("wiki_vital", "test"),)


def test_without_a_run_the_default_texts_are_meant() -> None:
    assert [source for source, _ in text_named("in-domain").parts] == [
        "sotu",
        "wiki_vital",
        "factbook",
    ]


def test_a_file_is_whole_unless_it_was_trained_on(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert text_named(str(text_file)).parts == ((str(text_file), "all"),)
    monkeypatch.chdir(text_file.parent)
    for spelling in (text_file.name, f"../{text_file.parent.name}/{text_file.name}"):
        seen = text_named(str(text_file), trained_on=[spelling])
        assert seen.parts == ((str(text_file), "test"),)
    other = text_named("out-of-domain", trained_on=["sotu"], out_of_domain=[text_file.name])
    assert other.parts == ((text_file.name, "all"),)


def test_in_domain_is_weighted_as_training_was() -> None:
    text = text_named("in-domain", trained_on=["sotu", "factbook"], weights=[3, 1])
    assert text.shares == (0.75, 0.25)
    assert text.names() == ("in-domain/sotu", "in-domain/factbook")
    assert text.describe() == "in-domain: 0.75 test split of sotu, 0.25 test split of factbook"
    assert text_named("in-domain", trained_on=["sotu"]).names() == ("in-domain",)
    assert text_named("out-of-domain", trained_on=["sotu"], weights=[1]).shares == ()


def test_broad_is_the_test_splits_of_its_corpora() -> None:
    text = text_named("broad")
    assert sum(text.shares) == pytest.approx(1)
    assert ("gcide", "test") in text.parts
    assert len(text.parts) == len(text.shares) > 20


def test_parts_of_a_mixture_share_the_limit(
    text_file: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    text = Text(name="m", parts=((str(text_file), "all"),), shares=(1.0,))
    whole = windows_of(text, tokenizer, protocol=Protocol(window=50))
    assert sum(labels.numel() for _, labels in whole[f"m/{text_file}"]) > 1000
    files = [text_file.with_name(f"{n}.txt") for n in range(3)]
    for file in files:
        file.write_text(text_file.read_text())
    text = Text(name="m", parts=tuple((str(f), "all") for f in files), shares=(0.7, 0.29, 0.01))
    found = windows_of(text, tokenizer, protocol=Protocol(window=50, limit=1000))
    counts = [sum(labels.numel() for _, labels in found[f"m/{file}"]) for file in files]
    # Windows of 50, of which the last of a text may be shorter.
    assert [-(-count // 50) for count in counts] == [14, 5, 1]


def test_the_description_says_what_is_scored() -> None:
    text = Text(name="x", parts=(("sotu", "test"), ("a.txt", "all")))
    assert text.describe() == "x: test split of sotu, all of a.txt"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'austen'"):
        text_named("austin")


def test_windows_score_the_whole_text_once(
    text_file: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    text = Text(name="two", parts=((str(text_file), "all"), (str(text_file), "all")))
    [windows] = windows_of(text, tokenizer, protocol=Protocol(window=100)).values()
    ids = [*tokenizer(text_file.read_text())["input_ids"], tokenizer.eos_token_id] * 2
    assert torch.cat([labels[0] for _, labels in windows]).tolist() == ids[1:]
    assert {tokens.shape[1] for tokens, _ in windows[:-1]} == {100}


def test_the_limit_is_kept(text_file: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    text = Text(name="one", parts=((str(text_file), "all"),))
    [windows] = windows_of(text, tokenizer, protocol=Protocol(window=100, limit=450)).values()
    assert sum(labels.numel() for _, labels in windows) <= 450
    assert len(windows) == 4
