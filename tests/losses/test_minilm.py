from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asnn_goose.losses.minilm import MiniLM
from asnn_goose.trace import Batch, Rotation, Trace

Passing = Callable[[int], Trace]
Saying = Callable[..., Trace]


def turn(seed: int) -> Tensor:
    """One orthogonal matrix per head (H,N,N)."""
    return torch.linalg.qr(torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(seed)))[0]


def turned(tensors: tuple[Tensor, ...], turn_HNN: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.einsum("bthn,hnm->bthm", x, turn_HNN) for x in tensors)


def by_hand(student: Trace, teacher: Trace, batch: Batch, pairs: list[tuple[str, str]]) -> float:
    total = 0.0
    for x, y in pairs:
        rows = []
        for b, t in batch.mask_BT.nonzero().tolist():
            seen = [s for s in range(t + 1) if batch.mask_BT[b, s]]
            for h in range(2):
                p, q = (
                    torch.softmax(
                        m.signals[y][-1][b, seen, h].double()
                        @ m.signals[x][-1][b, t, h].double()
                        / 4**0.5,
                        -1,
                    )
                    for m in (teacher, student)
                )
                rows.append((p * (p / q).log()).sum())
        total += torch.stack(rows).mean().item()
    return total


@pytest.mark.parametrize(
    ("version", "pairs"),
    [
        (1, [("queries", "keys"), ("values", "values")]),
        (2, [("queries", "queries"), ("keys", "keys"), ("values", "values")]),
    ],
)
def test_it_is_the_kl_of_causal_relations(
    version: int, pairs: list[tuple[str, str]], passing: Passing, batch: Batch
) -> None:
    student, teacher = passing(1), passing(2)
    found = MiniLM(version=version)(student, teacher, batch)
    assert found.item() == pytest.approx(by_hand(student, teacher, batch, pairs), rel=1e-5)


@pytest.mark.parametrize("version", [1, 2])
def test_rotations_inside_a_head_cost_nothing(
    version: int, passing: Passing, batch: Batch, saying: Saying
) -> None:
    """Zero for V_S = V_T R, and for q and k turned by the same R."""
    teacher = passing(1)
    student = saying(
        teacher,
        queries=turned(teacher.signals["queries"], turn(1)),
        keys=turned(teacher.signals["keys"], turn(1)),
        values=turned(teacher.signals["values"], turn(2)),
    )
    assert abs(MiniLM(version=version)(student, teacher, batch).item()) < 1e-6
    away = saying(student, queries=turned(teacher.signals["queries"], turn(3)))
    same = abs(MiniLM(version=version)(away, teacher, batch).item()) < 1e-6
    assert same == (version == 2)


def test_version_2_takes_other_numbers_of_heads(
    passing: Passing, batch: Batch, saying: Saying
) -> None:
    student, teacher = passing(1), passing(2)
    joined = saying(
        student,
        **{
            name: tuple(x.flatten(-2).unflatten(-1, (4, 2)) for x in student.signals[name])
            for name in ("queries", "keys", "values")
        },
    )
    with pytest.raises(ValueError, match=r"student has 4 heads, the teacher 2.*relation_heads"):
        MiniLM(version=2)(joined, teacher, batch)
    wanted = MiniLM(version=2, relation_heads=2)(student, teacher, batch).item()
    assert wanted == pytest.approx(MiniLM(version=2)(student, teacher, batch).item(), rel=1e-6)
    found = MiniLM(version=2, relation_heads=2)(joined, teacher, batch).item()
    assert found == pytest.approx(wanted, rel=1e-6)


def test_layers_can_be_chosen(passing: Passing, batch: Batch) -> None:
    student = passing(1)
    MiniLM(student_layer=0, teacher_layer=1)(student, passing(2), batch).backward()
    assert student.signals["values"][0].grad is not None
    assert student.signals["values"][2].grad is None


def test_positions_do_not_touch_values(passing: Passing, batch: Batch, saying: Saying) -> None:
    student, teacher = passing(1), passing(2)
    plain = MiniLM()(student, teacher, batch).item()
    rotary = dataclasses.replace(teacher, rotations=(Rotation(10.0),) * 3)
    assert MiniLM()(student, rotary, batch).item() != pytest.approx(plain, rel=1e-3)
    silent = saying(teacher, queries=tuple(0 * q for q in teacher.signals["queries"]))
    turned = dataclasses.replace(silent, rotations=(Rotation(10.0),) * 3)
    assert MiniLM()(student, turned, batch).item() == pytest.approx(
        MiniLM()(student, silent, batch).item(), rel=1e-6
    )


def test_wrong_settings_are_named(passing: Passing, batch: Batch) -> None:
    with pytest.raises(ValueError, match="version = 3"):
        MiniLM(version=3)
    with pytest.raises(ValueError, match="relation_heads = 2"):
        MiniLM(relation_heads=2)
    with pytest.raises(ValueError, match="relation_heads = 3: must divide the 8 channels"):
        MiniLM(version=2, relation_heads=3)(passing(1), passing(2), batch)
    with pytest.raises(ValueError, match="student_layer = 3: the Trace holds 3 blocks"):
        MiniLM(student_layer=3)(passing(1), passing(2), batch)
