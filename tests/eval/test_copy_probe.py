"""What stood before, told from losses of models whose answer is known."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from asnn_goose.eval.copy_probe import (
    COPIED_WORDS,
    COPY_DISTANCE,
    DISTANCES,
    KINDS,
    REPEATED_WORDS,
    CopyTally,
    earlier,
    joined,
    probes,
)
from asnn_goose.eval.perplexity import perplexity
from asnn_goose.trace import IGNORED_LABEL, Trace

V = 300


def uniform(tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
    """Knows nothing."""
    return Trace(final_BTD=torch.zeros(*tokens_BT.shape, 1), head_VD=torch.zeros(V, 1))


def copier(reach: int) -> object:
    """Is all but certain of what followed the same word last, at most `reach` words ago."""

    def trace(tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
        guess_BTV = torch.zeros(*tokens_BT.shape, V)
        for row, tokens in enumerate(tokens_BT.tolist()):
            for place, token in enumerate(tokens):
                before = [p for p in range(max(0, place - reach), place) if tokens[p] == token]
                if before:
                    guess_BTV[row, place, tokens[before[-1] + 1]] = 50.0
        return Trace(final_BTD=guess_BTV, head_VD=torch.eye(V))

    return trace


def window(*ids: int) -> tuple[Tensor, Tensor]:
    row = torch.tensor([ids])
    return row[:, :-1], row[:, 1:]


def test_words_and_pairs_that_stood_before() -> None:
    tokens, labels = window(1, 2, 3, 1, 2, 2, 3, 9, 2)
    seen, back = earlier(tokens[0], labels[0])
    #                        2      3      1     2     2     3     9      2
    assert seen == [False, False, True, True, True, True, False, True]
    assert back == [0, 0, 0, 3, 0, 4, 0, 0]


def test_the_nearest_pair_counts() -> None:
    tokens, labels = window(5, 6, 0, 5, 6, 1, 1, 5, 6)
    assert earlier(tokens[0], labels[0])[1] == [0, 0, 0, 3, 0, 0, 0, 4]


def test_a_word_after_itself_is_seen() -> None:
    tokens, labels = window(4, 4, 4)
    assert earlier(tokens[0], labels[0]) == ([True, True], [0, 1])


def test_kinds_take_every_scored_token_once_and_sum_to_the_score() -> None:
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 12, (3, 41), generator=draw)
    windows = [(row[None, :-1], row[None, 1:].clone()) for row in ids]
    windows[1][1][0, 5:9] = IGNORED_LABEL
    tally = CopyTally()
    score = perplexity(copier(10), windows, batch=2, each=[tally.add])
    found = tally.found().by_kind
    assert tuple(found) == KINDS
    assert sum(part.tokens for part in found.values()) == score.tokens == 116
    assert sum(part.nll_sum for part in found.values()) == pytest.approx(score.nll_sum)
    assert min(part.tokens for part in found.values()) > 3


def test_a_copier_pays_only_for_what_is_new() -> None:
    words = torch.randperm(V)[:40].tolist()
    windows = [window(*words, *words)]
    tally = CopyTally()
    perplexity(copier(100), windows, each=[tally.add])
    found = tally.found()
    # 39 new words, then the first word again, which nothing announces, then 39 copies.
    assert [part.tokens for part in found.by_kind.values()] == [39, 1, 39]
    assert found.by_kind["new"].mean == pytest.approx(math.log(V), rel=1e-6)
    assert found.by_kind["pair seen"].mean == pytest.approx(0, abs=1e-6)
    assert {name: part.tokens for name, part in found.by_distance.items() if part.tokens} == {
        "16-63": 39
    }


def test_a_short_reach_shows_by_distance() -> None:
    words = torch.randperm(V)[:90].tolist()
    rows = [window(*words[:20], *words[:20], *words[20:], *words[20:])]
    tally = CopyTally()
    perplexity(copier(40), rows, each=[tally.add])
    found = tally.found().by_distance
    assert found["16-63"].mean == pytest.approx(0, abs=1e-6)
    assert found["64-255"].mean == pytest.approx(math.log(V))
    assert tuple(found) == tuple(DISTANCES)
    assert found["256+"].mean is None
    json.dumps(tally.found().as_dict())


def test_texts_join_token_by_token() -> None:
    tallies = []
    for start in (0, 100):
        tally = CopyTally()
        perplexity(uniform, [window(*range(start, start + 20), *range(20))], each=[tally.add])
        tallies.append(tally.found())
    both = joined(tallies)
    assert [part.tokens for part in both.by_kind.values()] == [19 + 39, 1, 19]
    nats = sum(part.nll_sum for part in both.by_kind.values())
    assert nats == pytest.approx(78 * math.log(V))
    assert both.by_distance["16-63"].tokens == 19


def test_probes_of_a_copier_and_of_one_that_knows_nothing() -> None:
    known = probes(copier(COPY_DISTANCE + COPIED_WORDS), vocabulary=V, seed=3)
    unknown = probes(uniform, vocabulary=V, seed=3)
    assert unknown.repeated_loss == pytest.approx(math.log(V), rel=1e-6)
    assert unknown.copied_share < 0.05
    # A word that comes twice in the first half misleads it: rare among 300, not absent.
    assert known.repeated_loss < unknown.repeated_loss * 3
    assert known.copied_share > 0.4
    assert probes(uniform, vocabulary=V, seed=3) == unknown
    assert set(asdict(known)) == {"repeated_loss", "copied_share"}


def test_probes_are_far_and_near_as_they_say() -> None:
    near = probes(copier(REPEATED_WORDS), vocabulary=V)
    short = probes(copier(REPEATED_WORDS - 1), vocabulary=V)
    assert near.copied_share < 0.2
    assert short.repeated_loss > near.repeated_loss + 2
