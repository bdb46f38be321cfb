"""WikiText as its authors cut it into words, put together again as people write.

Half of what separates a model's perplexity there from that on other text is format: spaces before
punctuation, and " @-@ " for a hyphen. Merity et al. 2016, arXiv 1609.07843.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from asnn_goose import disk
from asnn_goose.sources import cache_dir

_RULES = tuple(
    (re.compile(pattern, re.MULTILINE), put)
    for pattern, put in (
        (r" @([-,.])@ ", r"\1"),
        (r" ([.,:;!?%])(?=\s|$)", r"\1"),
        (r" (['\u2019](?:s|re|ve|ll|d|m|t))\b", r"\1"),
        (r" n ['\u2019]t\b|(?<=\w) (n['\u2019]t)\b", r"\1"),
        (r"([(\[{]) ", r"\1"),
        (r" ([)\]}])", r"\1"),
        (r'(^|[\s(\[{])" ([^"\n]*?) "', r'\1"\2"'),
        (r"(^|[\s(\[{])' ([^'\n]*?) '(?=\s|[.,:;!?)]|$)", r"\1'\2'"),
        (r"([$£€#]) (?=\d)", r"\1"),
        (r"(?<=\d) (st|nd|rd|th)\b", r"\1"),
        (r"(?<=\w) / (?=\w)", "/"),
        (r"(?<=\d) (\u2013) (?=\d)", r"\1"),
        (r"^ | $", ""),
    )
)
"""(what the cutting into words left, what was there), in this order."""


def detokenised(text: str) -> str:
    """The text as people write it.

    >>> detokenised(' The goose ( 1 @,@ 200 g ) , " well @-@ fed " , flew . ')
    'The goose (1,200 g), "well-fed", flew.'
    """
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return text


class Detokenised(NamedTuple):
    """A file with the text, and words of the original for each word of it."""

    file: Path
    words: float


def detokenised_file(file: Path) -> Detokenised:
    """A text file, detokenised into the cache."""
    original = file.read_text(encoding="utf-8")
    found = detokenised(original)
    name = hashlib.sha256(found.encode()).hexdigest()[:16]
    target = cache_dir() / "detokenised" / f"{name}.txt"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        disk.write_text(target, found)
    return Detokenised(target, len(original.split()) / max(1, len(found.split())))
