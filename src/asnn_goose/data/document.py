"""A document, the split it belongs to, and the error of a text that cannot be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

Split = Literal["train", "validation", "test", "all"]
"""The three disjoint parts of a text, or the whole of it."""

TRAIN_SHARE, VALIDATION_SHARE = 0.90, 0.05


class DataError(ValueError):
    """A text that is missing, unreadable or too small; the message says what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text that is read from its beginning.

    id     where it comes from, unique within its corpus
    group  what must not be torn apart by a split: all documents of one group share a split
    text   the text itself
    """

    id: str
    group: str
    text: str


def split_of(group: str) -> Split:
    """The split of a group: a hash of its name, 90 % train, 5 % validation, 5 % test.

    It depends on nothing but the name, so it is the same on every machine and stays when a corpus
    grows; and a subject that is a group of two corpora falls into one split.
    """
    # A prefix of its own, lest another use of the group's hash go along with the split.
    digest = hashlib.sha256(f"split/{group}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < TRAIN_SHARE:
        return "train"
    return "validation" if share < TRAIN_SHARE + VALIDATION_SHARE else "test"


def share_of(split: Split) -> float:
    """The share of a text that `split_of` deals to a split."""
    test = 1 - TRAIN_SHARE - VALIDATION_SHARE
    shares = {"train": TRAIN_SHARE, "validation": VALIDATION_SHARE, "test": test, "all": 1.0}
    return shares[split]


def check_split(split: str) -> None:
    """Raise DataError where `split` is not the name of one."""
    if split not in get_args(Split):
        raise DataError(f"split {split!r} is not one of {', '.join(get_args(Split))}")
