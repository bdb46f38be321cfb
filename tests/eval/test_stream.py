"""Texts read in one go: every token once, by place, in blocks; memory that does not grow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from asnn_goose.eval.readers.engine_reader import EngineReader
from asnn_goose.eval.readers.torch_reader import TorchReader
from asnn_goose.eval.stream import PLACES, segments, stream
from asnn_goose.eval.text_bytes import text_bytes
from asnn_goose.eval.window_errors import Sums, difference, mean_error
from asnn_goose.eval.word_counts import word_table

IDS = np.random.default_rng(4).integers(0, 256, 1400).tolist()


def losses(reader: TorchReader, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        logp = reader._model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return -logp[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0].numpy()


def test_one_segment_is_the_whole_text(student_reader: TorchReader) -> None:
    told: list[int] = []
    found = stream(student_reader, IDS, progress=told.append)
    wanted = losses(student_reader, IDS)
    assert found.score.nll_sum == pytest.approx(wanted.sum(), rel=1e-5)
    assert (found.score.tokens, sum(told), found.reach) == (1399, 1399, None)
    for name, (low, high) in PLACES.items():
        if part := found.by_place.get(name):
            own = wanted[low : min(int(min(high, 1e9)), 1399)]
            assert part.tokens == len(own)
            assert part.nll_sum == pytest.approx(own.sum(), rel=1e-4)
    assert list(found.by_place) == ["0-63", "64-255", "256-1023", "1024-2047"]


def test_segments_begin_with_an_empty_context(student_reader: TorchReader) -> None:
    found = stream(student_reader, IDS, segment=500)
    parts = [losses(student_reader, IDS[start : end + 1]) for start, end in segments(1399, 500)]
    assert [len(part) for part in parts] == [500, 500, 399]
    assert found.score.nll_sum == pytest.approx(sum(part.sum() for part in parts), rel=1e-5)
    first = found.by_place["0-63"]
    assert first.tokens == 3 * 64
    assert first.nll_sum == pytest.approx(sum(part[:64].sum() for part in parts), rel=1e-4)


def test_blocks_hold_all_tokens_in_order(student_reader: TorchReader) -> None:
    found = stream(student_reader, IDS).blocks
    wanted = losses(student_reader, IDS)
    np.testing.assert_allclose(found.tokens_k, [512, 512, 375])
    np.testing.assert_allclose(found.nats_k[1], wanted[512:1024].sum(), rtol=1e-4)


def test_the_engine_reads_alike_and_in_constant_memory(
    student_reader: TorchReader, engine_reader: EngineReader
) -> None:
    one, other = stream(student_reader, IDS), stream(engine_reader, IDS)
    found = difference([other.blocks], [one.blocks])
    assert abs(found.mean) < 1e-3
    state = engine_reader._engine.start()
    sizes = []
    for part in (IDS[:10], IDS):
        for _ in engine_reader._engine.score(state, part):
            pass
        sizes.append(state.nbytes)
    assert sizes[0] == sizes[1]


def test_a_teacher_says_how_far_it_reaches(teacher_reader: TorchReader) -> None:
    found = stream(teacher_reader, IDS[:100])
    assert found.reach == 32
    assert found.score.tokens == 99


def test_bytes_and_words_are_those_of_the_text(
    tokenizer: PreTrainedTokenizerFast, student_reader: TorchReader
) -> None:
    text = "A goose,\n\n flew  north.\tIt was naïve - so\nit was"
    ids = [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]
    table = word_table(tokenizer)
    found = stream(student_reader, ids, bytes_V=text_bytes(tokenizer), words=table)
    assert found.score.bytes == len(text.encode())
    assert found.score.words == len(text.split()) == 11
    assert found.score.word_perplexity == pytest.approx(np.exp(found.score.nll_sum / 11))


@pytest.mark.parametrize("kind", ["sentencepiece", "byte_level", "byte_fallback"])
def test_words_of_every_kind_of_tokenizer(kind: str, of_kind: object) -> None:
    text = "the goose  flew north , and\nback again"
    tokenizer = of_kind(kind)  # type: ignore[operator]
    ids = torch.tensor(
        [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    )
    counted = torch.ones(len(ids) - 1, dtype=torch.bool)
    assert word_table(tokenizer).count(ids[:-1], ids[1:], counted) == len(text.split())


def test_errors_are_those_of_drawing_windows_again() -> None:
    draw = np.random.default_rng(0)
    tokens = draw.integers(50, 200, 400).astype(float)
    nats = tokens * (3 + 0.3 * draw.standard_normal(400))
    better = nats - tokens * (0.1 + 0.05 * draw.standard_normal(400))
    picks = [draw.integers(0, 400, 400) for _ in range(500)]
    boots = [nats[p].sum() / tokens[p].sum() for p in picks]
    assert mean_error([Sums(1.0, nats, tokens)]) == pytest.approx(np.std(boots), rel=0.1)
    boots = [(better - nats)[p].sum() / tokens[p].sum() for p in picks]
    found = difference([Sums(1.0, better, tokens)], [Sums(1.0, nats, tokens)])
    assert found.mean == pytest.approx((better.sum() - nats.sum()) / tokens.sum())
    assert found.error == pytest.approx(np.std(boots), rel=0.1)
    # Paired: far smaller than what two errors together would say.
    assert found.error < 0.3 * mean_error([Sums(1.0, nats, tokens)])


def test_errors_of_a_mixture_and_of_too_little() -> None:
    part = Sums(0.5, np.array([2.0, 4.0]), np.array([1.0, 1.0]))
    whole = mean_error([part._replace(share=1.0)])
    assert whole == pytest.approx(1.0)
    assert mean_error([part, part]) == pytest.approx(whole / np.sqrt(2))
    assert np.isnan(mean_error([Sums(1.0, np.array([2.0]), np.array([1.0]))]))
    with pytest.raises(ValueError, match="different windows"):
        difference([part], [part._replace(tokens_k=np.array([1.0, 2.0]))])
