"""A cached teacher: runs once on a window, says the same ever after, and only what it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asnn_goose.data.teacher_cache import CachedTeacher, CacheSettings, window_key
from asnn_goose.trace import PLACES, Trace, Window

V, D, LAYERS = 40, 66, 3
VOCAB = frozenset({"vocab"})


class Teacher:
    """Says something of every window that depends on all its tokens and on their documents."""

    name = "fake"
    signals = frozenset({"queries"})

    def __init__(self) -> None:
        self.read: list[tuple[Tensor, frozenset[str]]] = []

    @property
    def outline(self) -> Trace:
        return Trace(width=D, head_size=2)

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        self.read.append((tokens_BT, needs))
        assert not torch.is_autocast_enabled("cpu")
        documents_BT = window.documents_BT if window else None
        apart = 0 if documents_BT is None else (documents_BT - documents_BT[:, :1])
        scale_BT1 = (1 + tokens_BT.cumsum(1) + 7 * apart)[..., None].float()
        x_BTD = torch.sin(scale_BT1 * torch.linspace(0.1, 2, D))
        places = dict.fromkeys(needs & PLACES - VOCAB, (x_BTD, 2 * x_BTD, 3 * x_BTD))
        return replace(
            self.outline,
            final_BTD=x_BTD if "vocab" in needs else None,
            head_VD=torch.sin(torch.arange(V * D).view(V, D).float()),
            **places,
        )


def cached(
    teacher: Teacher | None = None,
    told: list[str] | None = None,
    identity: str = "a",
    **keys: object,
) -> CachedTeacher:
    return CachedTeacher(
        teacher or Teacher(),
        settings=CacheSettings(**({"top": 8} | keys)),  # type: ignore[arg-type]
        identity={"teacher": identity},
        vocabulary=V,
        tell=(told if told is not None else []).append,
    )


def windows(*rows: int, length: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, V, (20, length), generator=generator)[list(rows)]


def same(one: Trace, other: Trace) -> bool:
    assert one.top is not None
    assert other.top is not None
    pairs = [(one.top.ids_nK, other.top.ids_nK), (one.top.log_p_nK, other.top.log_p_nK)]
    return all(torch.equal(*pair) for pair in [*pairs, (one.top.rest_nG, other.top.rest_nG)])


def test_a_window_is_read_once_by_whoever_asks() -> None:
    teacher, again = Teacher(), Teacher()
    first = cached(teacher).trace(windows(0, 1), VOCAB)
    assert [len(tokens) for tokens, _needs in teacher.read] == [1, 1]
    second = cached(again).trace(windows(1, 0, 2), VOCAB)
    assert [tokens.tolist() for tokens, _needs in again.read] == [windows(2).tolist()]
    swapped = cached(again).trace(windows(0, 1), VOCAB)
    assert len(again.read) == 1
    assert same(first, swapped)
    assert not same(first, second)


def test_it_says_what_the_teacher_says() -> None:
    live = Teacher().trace(windows(0, 1), VOCAB)
    found = cached(top=V, temperatures=(1.0, 2.0)).trace(windows(0, 1), VOCAB)
    assert found.top is not None
    log_p_nV = torch.log_softmax(live.vocab(slice(0, 24)), -1)
    for tau in (1.0, 2.0):
        log_p_nK, rest_n1 = found.top.at(tau)
        wanted_nV = torch.log_softmax(log_p_nV / tau, -1)
        assert torch.allclose(log_p_nK, wanted_nV.gather(-1, found.top.ids_nK), atol=1e-3)
        assert (rest_n1 == -torch.inf).all()
    assert torch.equal(found.top.ids_nK[:, 0], log_p_nV.argmax(-1))
    some = cached(top=3, temperatures=(2.0,)).trace(windows(0, 1), VOCAB).top
    assert some is not None
    wanted_n = torch.softmax(log_p_nV / 2, -1).sort(-1).values[:, :-3].sum(-1)
    assert torch.allclose(some.at(2.0)[1].exp()[:, 0], wanted_n, atol=1e-4)


@pytest.mark.parametrize(("kind", "error"), [("fp16", 2e-3), ("int8", 2e-2)])
def test_features_come_back_by_place_and_window(kind: str, error: float) -> None:
    needs = frozenset({"hidden", "mixer_in"})
    live = Teacher().trace(windows(3, 4), needs)
    for _ in range(2):
        found = cached(features=kind).trace(windows(3, 4), needs)
        for name in needs:
            assert len(getattr(found, name)) == LAYERS
            for x_BTD, wanted_BTD in zip(getattr(found, name), getattr(live, name), strict=True):
                assert torch.allclose(x_BTD, wanted_BTD, atol=error)
    assert found.width == D


def test_only_what_is_missing_is_run() -> None:
    teacher = Teacher()
    cache = cached(teacher, features="fp16")
    cache.trace(windows(0), VOCAB)
    cache.trace(windows(0), frozenset({"vocab", "hidden"}))
    assert [needs for _tokens, needs in teacher.read] == [VOCAB, frozenset({"hidden"})]


def test_documents_read_apart_make_another_window() -> None:
    tokens_1T = windows(0)
    one, two = (torch.arange(12)[None] // length for length in (12, 6))
    keys = [window_key(tokens_1T, Window(documents_BT=d)) for d in (None, one, two, two + 40)]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]  # numbers of documents differ from run to run
    cache = cached()
    apart = cache.trace(tokens_1T, VOCAB, window=Window(documents_BT=two))
    assert not same(apart, cache.trace(tokens_1T, VOCAB))
    assert same(apart, cache.trace(tokens_1T, VOCAB, window=Window(documents_BT=two + 40)))


@pytest.mark.parametrize(
    "other", [{"identity": "b"}, {"top": 7}, {"temperatures": (1.0, 3.0)}], ids=str
)
def test_another_teacher_or_other_settings_share_nothing(other: dict[str, object]) -> None:
    teacher = Teacher()
    cached().trace(windows(0), VOCAB)
    cached(teacher, **other).trace(windows(0), VOCAB)  # type: ignore[arg-type]
    assert len(teacher.read) == 1


def test_damage_is_told_and_read_again(cache: Path) -> None:
    before = cached().trace(windows(0), VOCAB)
    (file,) = cache.glob("teacher-cache/*/*.records")
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    teacher, told = Teacher(), list[str]()
    assert same(before, cached(teacher, told).trace(windows(0), VOCAB))
    assert len(teacher.read) == len(told) == 1
    assert same(before, cached(teacher).trace(windows(0), VOCAB))
    assert len(teacher.read) == 1


def test_filling_reads_what_is_not_there_and_no_more() -> None:
    teacher = Teacher()
    cache = cached(teacher)
    cache.trace(windows(0), VOCAB)
    assert cache.fill(windows(0, 1), VOCAB, window=Window()) == 12
    assert cache.fill(windows(0, 1), VOCAB, window=Window()) == 0
    cache.trace(windows(0, 1), VOCAB)
    assert len(teacher.read) == 2


def test_the_teacher_keeps_its_own_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        lowered = cached().trace(windows(5), VOCAB)  # the fake asserts that it is not
    assert same(lowered, cached().trace(windows(5), VOCAB))


def test_a_stage_reads_all_or_nothing_of_it() -> None:
    teacher = Teacher()
    cache = cached(teacher)
    for _ in range(2):
        live = cache.trace(windows(0), frozenset({"mixer_in", "queries"}))
        assert len(live.mixer_in) == LAYERS
    assert len(teacher.read) == 2
    with pytest.raises(ValueError, match=r"hidden of the teacher 'fake' is needed, .* features"):
        cache.trace(windows(0), frozenset({"vocab", "hidden"}))
    with pytest.raises(ValueError, match=r"queries of the teacher 'fake' .* leave the cache out"):
        cached(features="int8").trace(windows(0), frozenset({"vocab", "queries"}))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"cache.top = 41: the teacher 'fake' has 40 words"):
        cached(top=41)
    padded = Window(mask_BT=torch.ones(1, 12, dtype=torch.bool))
    with pytest.raises(ValueError, match="padding"):
        cached().trace(windows(0), VOCAB, window=padded)
