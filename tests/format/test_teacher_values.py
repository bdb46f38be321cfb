"""What is kept of a token: few bytes, read back as near as they allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asnn_goose.format.teacher_values import (
    BLOCK,
    UNIT,
    TopWords,
    feature_bytes,
    pack_features,
    pack_top,
    top_bytes,
    unpack_features,
    unpack_top,
)


def words(tokens: int, top: int, temperatures: int, vocabulary: int) -> TopWords:
    random = np.random.default_rng(0)
    log_p_TK = -np.sort(random.exponential(5, (tokens, top)).astype(np.float32))
    return TopWords(
        ids_TK=random.integers(vocabulary - 5, vocabulary, (tokens, top)),
        log_p_TK=log_p_TK,
        rest_TG=random.normal(size=(tokens, temperatures)).astype(np.float32),
    )


@pytest.mark.parametrize("vocabulary", [4096, 65_536, 65_537, 151_936])
def test_words_come_back(vocabulary: int) -> None:
    given_words = words(7, 5, 2, vocabulary)
    payload = pack_top(given_words, vocabulary=vocabulary)
    assert len(payload) == 7 * top_bytes(top=5, temperatures=2, vocabulary=vocabulary)
    found = unpack_top(payload, top=5, temperatures=2, vocabulary=vocabulary)
    assert (found.ids_TK == given_words.ids_TK).all()
    assert (found.rest_TG == given_words.rest_TG).all()
    assert np.abs(found.log_p_TK - given_words.log_p_TK).max() <= UNIT / 2 * 1.001


def test_the_least_likely_words_count_as_32_nats() -> None:
    edge = TopWords(
        ids_TK=np.zeros((1, 3), np.int64),
        log_p_TK=np.array([[0.0, -100.0, -np.inf]], np.float32),
        rest_TG=np.array([[-np.inf]], np.float32),
    )
    payload = pack_top(edge, vocabulary=10)
    found = unpack_top(payload, top=3, temperatures=1, vocabulary=10)
    assert found.log_p_TK == pytest.approx(np.array([[0.0, -32, -32]]), abs=UNIT)
    assert found.rest_TG[0, 0] == -np.inf


def test_64_words_take_at_most_400_bytes_a_token() -> None:
    assert top_bytes(top=64, temperatures=1, vocabulary=49_152) == 260
    assert top_bytes(top=64, temperatures=4, vocabulary=151_936) <= 400


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 200), large=st.floats(1e-3, 1e4))
def test_features_come_back(width: int, large: float) -> None:
    x_TD = np.random.default_rng(width).normal(size=(5, width)).astype(np.float32)
    x_TD[0, 0] = large
    x_TD[1] = 0
    for kind, error in (("fp16", 2**-10), ("int8", 0.5 / 127 * 1.01)):
        payload = pack_features(x_TD, kind=kind)
        assert len(payload) == 5 * feature_bytes(width, kind=kind)
        found = unpack_features(payload, width=width, kind=kind)
        for start in range(0, width, BLOCK):
            part = slice(start, start + BLOCK)
            most_T1 = np.abs(x_TD[:, part]).max(-1, keepdims=True)
            assert (np.abs(found[:, part] - x_TD[:, part]) <= error * most_T1 + 1e-7).all()


def test_what_half_precision_cannot_hold_is_its_largest_number() -> None:
    x_TD = np.array([[1e6, -1e6]], np.float32)
    found = unpack_features(pack_features(x_TD, kind="fp16"), width=2, kind="fp16")
    assert found.tolist() == [[65504.0, -65504.0]]


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="features"):
        pack_features(np.zeros((1, 1), np.float32), kind="int4")
    with pytest.raises(ValueError, match="whole tokens"):
        unpack_top(b"12345", top=1, temperatures=0, vocabulary=9)
    with pytest.raises(ValueError, match="whole vectors"):
        unpack_features(b"123", width=2, kind="fp16")
