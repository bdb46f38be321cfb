"""Which of the student's layers learns from which of the teacher's.

Layers are counted as in Trace.hidden: 0 is the embedding, j the output of block j. Rules after
TinyBERT (arXiv 1909.10351: uniform), Patient KD (arXiv 1908.09355: skip and last) and SpikeBERT
(arXiv 2308.15122: first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import MappingProxyType

Pairs = tuple[tuple[int, int], ...]
"""(student's layer, teacher's layer), in the order of the student's."""

Rule = str | Sequence[Sequence[int]]
"""A row of RULES, or the pairs themselves."""


def uniform_pairs(student: int, teacher: int) -> Pairs:
    """Layer j of M learns from layer j N / M, rounded; the last from the last."""
    # Rounded in whole numbers, halves up: round() would send 0.5 and 1.5 to even ones and skip a
    # layer.
    return tuple((j, (2 * j * teacher + student) // (2 * student)) for j in range(1, student + 1))


def skip_pairs(student: int, teacher: int) -> Pairs:
    """The uniform pairs but the last, which the logits teach: 12 to 6 takes 2, 4, 6, 8, 10."""
    return uniform_pairs(student, teacher)[:-1]


def last_pairs(student: int, teacher: int) -> Pairs:
    """The teacher's last layers but the very last: 12 to 6 takes 7, 8, 9, 10, 11."""
    return tuple((j, teacher - student + j) for j in range(1, student))


def first_pairs(student: int, teacher: int) -> Pairs:
    """The first layer of every group of the teacher's: 12 to 6 takes 1, 3, 5, 7, 9, 11."""
    return tuple((j, 1 + (j - 1) * teacher // student) for j in range(1, student + 1))


RULES: MappingProxyType[str, Callable[[int, int], Pairs]] = MappingProxyType(
    {"uniform": uniform_pairs, "skip": skip_pairs, "last": last_pairs, "first": first_pairs}
)


class LayerMap:
    """Pairs of layers for any two depths.

    rule       "uniform", "skip", "last", "first", or pairs such as [[1, 2], [2, 4]]
    embedding  add the pair (0, 0)
    at_most    keep so many pairs, evenly spread and the last among them; None for all

    Raises ValueError for another rule, and `pairs` where it does not fit the depths.
    """

    def __init__(self, rule: Rule, *, embedding: bool = False, at_most: int | None = None) -> None:
        self.rule: str | Pairs = rule if isinstance(rule, str) else _explicit(rule)
        if isinstance(self.rule, str) and self.rule not in RULES:
            words = ", ".join(RULES)
            raise ValueError(f"layer_map = {rule!r}: choose one of {words}, or list pairs")
        if at_most is not None and at_most < 1:
            raise ValueError(f"layers = {at_most}: must be at least 1")
        self.embedding, self.at_most = embedding, at_most

    def pairs(self, student_depth: int, teacher_depth: int) -> Pairs:
        """The pairs for models of so many blocks."""
        if isinstance(self.rule, str):
            found = _by_rule(self.rule, student_depth, teacher_depth)
        else:
            found = self.rule
            _check_range(found, student_depth, teacher_depth)
        found = found if self.at_most is None else _spread(found, self.at_most)
        start = ((0, 0),) if self.embedding and (0, 0) not in found else ()
        return start + found


def _by_rule(rule: str, student: int, teacher: int) -> Pairs:
    about = f"layer_map = {rule!r}: the student has {student} blocks, the teacher {teacher}"
    # Two student layers would learn one teacher layer, the second to do nothing: nobody asked for
    # that by a rule's name.
    if student > teacher:
        raise ValueError(f"{about}; list pairs where the student is deeper")
    found = RULES[rule](student, teacher)
    if not found:
        raise ValueError(f"{about}, which leaves no layer; choose 'uniform' or list pairs")
    return found


def _explicit(rule: Sequence[Sequence[int]]) -> Pairs:
    if not rule or any(len(pair) != 2 for pair in rule):
        raise ValueError(f"layer_map = {rule}: list at least one [student layer, teacher layer]")
    pairs = tuple((int(pair[0]), int(pair[1])) for pair in rule)
    if any(later[0] <= earlier[0] for earlier, later in pairwise(pairs)):
        raise ValueError(f"layer_map = {rule}: the student's layers must rise")
    return pairs


def _check_range(pairs: Pairs, student: int, teacher: int) -> None:
    for j, g in pairs:
        if not (0 <= j <= student and 0 <= g <= teacher):
            raise ValueError(
                f"layer_map has the pair [{j}, {g}]: the student's layers are 0 to {student}, "
                f"the teacher's 0 to {teacher}"
            )


def _spread(pairs: Pairs, count: int) -> Pairs:
    count = min(count, len(pairs))
    # Counted from the end, so that the last pair is always among them.
    return tuple(pairs[i * len(pairs) // count - 1] for i in range(1, count + 1))
