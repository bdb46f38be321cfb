"""Every reader against the plainest way to score: one whole text at a time, all its logits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.eval.readers.engine_reader import EngineReader
from asnn_goose.eval.readers.reader import batches, continuations
from asnn_goose.eval.readers.torch_reader import TorchReader
from asnn_goose.infer.sampler import Sampling

READERS = ("student_reader", "engine_reader", "teacher_reader")


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def model(reader: Any, student_reader: TorchReader, teacher_reader: TorchReader) -> Any:
    """What the reader's numbers must be those of."""
    return (teacher_reader if reader is teacher_reader else student_reader)._model


def pairs() -> list[tuple[list[int], list[int]]]:
    draw = np.random.default_rng(5)
    shared = draw.integers(0, 257, 9).tolist()
    found = [(shared, draw.integers(0, 257, size).tolist()) for size in (1, 4, 2)]
    found += [(draw.integers(0, 257, size).tolist(), [7, 8]) for size in (1, 17, 3)]
    return found


@torch.no_grad()
def plain_logp(model: Any, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)


def test_continuations_score_as_in_the_whole_text(reader: Any, model: Any) -> None:
    found = reader.score(pairs())
    for (context, after), (logprob, _) in zip(pairs(), found, strict=True):
        logp = plain_logp(model, context + after)[len(context) - 1 : -1]
        wanted = sum(float(row[token]) for row, token in zip(logp, after, strict=True))
        assert logprob == pytest.approx(wanted, abs=2e-3)


def test_greedy_means_that_drawing_gives_it(reader: Any, model: Any) -> None:
    context = [3, 1, 4, 1, 5]
    best = list(context)
    for _ in range(3):
        best.append(int(plain_logp(model, best)[-1].argmax()))
    wrong = [*best[:-1], (best[-1] + 1) % 257]
    found = reader.score([(context, best[5:]), (context, wrong[5:]), (context, best[5:6])])
    assert [score.greedy for score in found] == [True, False, True]


def test_a_long_context_is_cut_to_what_the_teacher_reaches(
    teacher_reader: TorchReader, teacher_model: Any
) -> None:
    context = np.random.default_rng(1).integers(0, 257, 50).tolist()
    ((logprob, _),) = teacher_reader.score([(context, [5, 6])])
    logp = plain_logp(teacher_model, [*context, 5][-32:])
    assert logprob == pytest.approx(float(logp[-2, 5] + logp[-1, 6]), abs=1e-4)


def test_a_state_goes_through_the_whole_text(
    student_reader: TorchReader, engine_reader: EngineReader
) -> None:
    ids = np.random.default_rng(2).integers(0, 257, 600).tolist()
    logp = plain_logp(student_reader._model, ids)
    wanted = [-float(row[token]) for row, token in zip(logp, ids[1:], strict=False)]
    for reader in (student_reader, engine_reader):
        parts = [part.nats_t for part in reader.read(ids)]
        assert max(map(len, parts)) <= 256
        np.testing.assert_allclose(np.concatenate(parts), wanted, atol=2e-3)


def test_a_teacher_begins_anew_where_it_is_full(
    teacher_reader: TorchReader, teacher_model: Any
) -> None:
    ids = np.random.default_rng(2).integers(0, 257, 70).tolist()
    parts = [part.nats_t for part in teacher_reader.read(ids)]
    assert [len(part) for part in parts] == [32, 32, 5]
    logp = plain_logp(teacher_model, ids[32:64])
    np.testing.assert_allclose(
        parts[1], [-float(row[t]) for row, t in zip(logp, ids[33:65], strict=True)], atol=1e-4
    )


def test_a_batch_draws_what_each_text_draws_alone(reader: Any, model: Any) -> None:
    prompts = [[9, 8, 7], [1], [5, 5, 5, 5, 5, 5]]
    found = continuations(reader, prompts, limit=6)
    for prompt, drawn in zip(prompts, found, strict=True):
        ids = list(prompt)
        for _ in range(6):
            if (best := int(plain_logp(model, ids)[-1].argmax())) == 256:
                break
            ids.append(best)
        assert drawn == ids[len(prompt) :]


def test_a_continuation_ends_when_it_is_over(student_reader: TorchReader) -> None:
    whole = continuations(student_reader, [[1, 2], [3]], limit=5)
    ended = continuations(
        student_reader, [[1, 2], [3]], limit=5, over=lambda row, drawn: len(drawn) == 2 + row
    )
    assert ended == [whole[0][:2], whole[1][:3]]


def test_sampling_is_repeatable(engine_reader: EngineReader) -> None:
    options = {"limit": 8, "sampling": Sampling(temperature=2.0)}
    first, second, other = (
        continuations(engine_reader, [[1, 2]], seed=seed, **options) for seed in (1, 1, 2)
    )
    assert first == second != other


def test_pairs_of_one_context_come_together() -> None:
    found = [([2, 2], [1]), ([1], [1]), ([2, 2], [3]), ([2, 1], [1]), ([2, 2], [4])]
    order = [place for part in batches(found, size=2) for place in part]
    contexts = [found[place][0] for place in order]
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert sum(a != b for a, b in pairwise(contexts)) == 2
