"""What shapes the choice of a token does what it says, and no more."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asnn_goose.infer.sampler import Sampling
from asnn_goose.infer.server.chooser import Chooser, Manner, reported
from asnn_goose.infer.server.grammar import GrammarError, Grammars
from asnn_goose.infer.text import read_vocabulary

GREEDY = Sampling(greedy=True)
LOGITS = np.array([1.0, 3.0, 2.9, -1.0, 0.0], np.float32)


def chooser(manner: Manner, *, seed: int | None = None, **settings: Any) -> Chooser:
    return Chooser(manner, prompt=settings.pop("prompt", ()), seed=seed, native=True, **settings)


def drawn(manner: Manner, count: int, **settings: Any) -> list[int]:
    choose = chooser(manner, **settings)
    return [choose.choose(LOGITS).token for _ in range(count)]


def test_bias_moves_a_token() -> None:
    assert drawn(Manner(sampling=GREEDY), 1) == [1]
    assert drawn(Manner(sampling=GREEDY, bias={0: 2.5}), 1) == [0]
    assert drawn(Manner(sampling=GREEDY, bias={1: -100}), 1) == [2]


def test_penalties_count_what_was_drawn() -> None:
    assert drawn(Manner(sampling=GREEDY, presence_penalty=1.0), 4) == [1, 2, 1, 1]
    assert drawn(Manner(sampling=GREEDY, frequency_penalty=1.0), 5) == [1, 2, 1, 2, 0]


def test_the_repetition_penalty_counts_the_prompt_too() -> None:
    manner = Manner(sampling=Sampling(greedy=True, repetition_penalty=1.5))
    assert drawn(manner, 1, prompt=[1]) == [2]
    assert drawn(manner, 2) == [1, 2]


def test_logits_stay_as_they_are() -> None:
    before = LOGITS.copy()
    drawn(Manner(sampling=GREEDY, bias={0: 9.0}, presence_penalty=1.0, logprobs=2), 3)
    np.testing.assert_array_equal(LOGITS, before)


def test_logprobs_are_the_models_own() -> None:
    manner = Manner(sampling=Sampling(temperature=0.3), bias={3: 100}, logprobs=2)
    found = chooser(manner).choose(LOGITS)
    p = np.exp(LOGITS.astype(np.float64)) / np.exp(LOGITS.astype(np.float64)).sum()
    assert found.token == 3
    assert found.logprob == pytest.approx(np.log(p[3]))
    assert [token for token, _ in found.likeliest] == [1, 2]
    np.testing.assert_allclose([value for _, value in found.likeliest], np.log(p[[1, 2]]))


@pytest.mark.parametrize("count", [1, 5, 70])
def test_the_likeliest_are_those_of_a_whole_ranking(count: int) -> None:
    """Ties by id, also where only some of the equals are among them."""
    logits = np.random.default_rng(0).integers(-4, 5, 60).astype(np.float32)
    found = reported(logits, 0, count, native=True).likeliest
    ranked = np.argsort(-logits, kind="stable")[:count]
    assert [token for token, _ in found] == ranked.tolist()


def test_log_probabilities_are_the_same_in_both_engines() -> None:
    logits = np.random.default_rng(1).standard_normal(49_152).astype(np.float32) * 3
    fast, slow = (reported(logits, 7, 2, native=native) for native in (True, False))
    assert fast.logprob == pytest.approx(slow.logprob, abs=1e-6)
    assert slow.logprob == pytest.approx(logits[7] - np.logaddexp.reduce(logits.astype("f8")))


def test_a_seed_repeats_and_another_does_not() -> None:
    manner = Manner(sampling=Sampling())
    assert drawn(manner, 40, seed=3) == drawn(manner, 40, seed=3) != drawn(manner, 40, seed=4)
    assert Counter(drawn(manner, 300, seed=0)).keys() == {0, 1, 2, 3, 4}


@pytest.fixture(scope="module")
def grammars(folder: Path) -> Grammars:
    return Grammars(read_vocabulary(folder, {"eos_token_id": None}), 257)


SCHEMA = {
    "type": "object",
    "properties": {"bird": {"enum": ["goose", "gull"]}, "honks": {"type": "boolean"}},
    "required": ["bird", "honks"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(5))
def test_a_grammar_is_kept_at_any_temperature(grammars: Grammars, folder: Path, seed: int) -> None:
    vocabulary = read_vocabulary(folder, {"eos_token_id": None})
    choose = chooser(
        Manner(sampling=Sampling(temperature=2.0)), seed=seed, grammar=grammars.make(SCHEMA)
    )
    random, tokens = np.random.default_rng(seed), []
    while not (tokens and tokens[-1] in vocabulary.ends) and not choose.over:
        logits = random.standard_normal(257).astype(np.float32)
        tokens.append(choose.choose(logits).token)
        assert len(tokens) < 100
    found = json.loads(vocabulary.core.decode(tokens))
    assert found["bird"] in {"goose", "gull"}
    assert isinstance(found["honks"], bool)


def test_copies_of_a_grammar_go_their_own_ways(grammars: Grammars) -> None:
    first = grammars.make(SCHEMA)
    second = first.copy()
    before = second.allowed()
    first.take(int(np.flatnonzero(before)[0]))
    np.testing.assert_array_equal(second.allowed(), before)
    assert (first.allowed() != before).any()


def test_a_wrong_token_and_a_wrong_schema_are_errors(grammars: Grammars) -> None:
    grammar = grammars.make(SCHEMA)
    with pytest.raises(GrammarError):
        grammar.take(int(np.flatnonzero(~grammar.allowed())[0]))
    with pytest.raises(GrammarError, match="nonsense"):
        grammars.make({"type": "nonsense"})
