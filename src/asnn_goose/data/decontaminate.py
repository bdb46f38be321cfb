"""Training documents that share words with an evaluation text are found and left out.

Two texts overlap where thirteen words in a row are the same in both (Brown et al., NeurIPS 2020,
arXiv 2005.14165, appendix C), in lower case and without punctuation.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asnn_goose.data.corpora import documents, find_corpus
from asnn_goose.data.corpora.kept_text import text_meta
from asnn_goose.data.document import DataError, Document, Split
from asnn_goose.data.hub import is_hub
from asnn_goose.data.own_text import content_hash, json_lines, strings_of
from asnn_goose.data.shards import Shard
from asnn_goose.sources import cache_dir, new_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS = 13
"""Words in a row that make an overlap."""

_NOT_IN_NAMES = re.compile(r"[^\w.-]")
_WORD = re.compile(r"\w+")
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A training document that is left out: its place, what it shares, and with which text."""

    number: int
    id: str
    bytes: int
    words: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Evaluation texts that nothing may be trained on.

    grams     name of each text -> sorted hashes of its runs of words
    identity  changes with any of the texts
    """

    grams: dict[str, NDArray[np.uint64]]
    identity: str

    def overlap(self, text: str) -> tuple[str, str] | None:
        """The first words that a text shares, and the name of the text it shares them with."""
        words = words_of(text)
        hashes = _grams(words)
        for name, held in self.grams.items():
            found = np.flatnonzero(_among(hashes, held))
            if len(found):
                return " ".join(words[found[0] : found[0] + WORDS]), name
        return None


def held(texts: Sequence[tuple[str, Split]]) -> Held:
    """What is held out by evaluation texts: (corpus, file or data set; split that is evaluated).

    Of a .jsonl file every string counts, whatever its key. Raises DataError for a text that cannot
    be read, SourceError where its package cannot be had.
    """
    grams, origins = {}, []
    for name, split in texts:
        hashes = [_grams(words_of(text)) for text in _held_strings(name, split)]
        grams[name] = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]))
        origins.append([name, split, identity_of(name)])
    identity = hashlib.sha256(json.dumps([WORDS, origins]).encode()).hexdigest()[:16]
    return Held(grams=grams, identity=identity)


def decontaminated(shard: Shard, name: str, against: Held) -> tuple[Shard, list[Overlap]]:
    """A training shard without the documents that overlap with an evaluation text, and those.

    `name` is what the shard was made of. The search is done once and kept in the cache. Raises
    DataError where nothing is left.
    """
    # Numbered as in the shard, which leaves empty ones out, and ends early in a stream.
    texts = (d for d in documents(name, "train") if d.text)
    found = _kept_search(shard, islice(texts, shard.meta.documents), against)
    if not found:
        return shard, []
    if len(found) == shard.meta.documents:
        raise DataError(
            f"{name}: every document shares {WORDS} words in a row with {found[0].text}: train on "
            "another text, or leave that one out of data.decontaminate"
        )
    return _without(shard, found, against), found


def overlaps(texts: Iterable[Document], against: Held) -> Iterator[Overlap]:
    """The documents that share words with an evaluation text."""
    for number, document in enumerate(texts):
        if shared := against.overlap(document.text):
            words, name = shared
            size = len(document.text.encode())
            yield Overlap(number=number, id=document.id, bytes=size, words=words, text=name)


def words_of(text: str) -> list[str]:
    """Words in lower case; punctuation parts them, and an apostrophe does too."""
    return _WORD.findall(text.lower())


class _Hashes(dict[str, int]):
    """64-bit hashes of words, the same in every process."""

    def __missing__(self, word: str) -> int:
        # Not Python's hash, which every process salts anew: searches are kept on disk.
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        self[word] = int.from_bytes(digest, "little")
        return self[word]


_HASHES = _Hashes()


def _grams(words: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of every run of WORDS words: a polynomial of theirs, modulo 2^64."""
    count = len(words) - WORDS + 1
    if count < 1:
        return np.empty(0, np.uint64)
    hashes = np.fromiter(map(_HASHES.__getitem__, words), np.uint64, len(words))
    total = np.zeros(count, np.uint64)
    for first in range(WORDS):
        # All runs at once, word by word: thirteen passes instead of one for every run.
        total = total * _BASE + hashes[first : first + count]
    return total


def _among(hashes: NDArray[np.uint64], held: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(held):
        return np.zeros(len(hashes), np.bool_)
    # A hash above the last one would point behind the end.
    places = np.minimum(np.searchsorted(held, hashes), len(held) - 1)
    return np.asarray(held[places] == hashes)


def _held_strings(name: str, split: Split) -> Iterator[str]:
    path = Path(name).expanduser()
    if find_corpus(name) is None and path.suffix == ".jsonl" and path.is_file():
        for _, _, record in json_lines(path):
            yield from strings_of(record)
    else:
        yield from (document.text for document in documents(name, split))


def identity_of(name: str) -> str:
    """What tells one state of a text from another: a package's version, or a file's content."""
    corpus = find_corpus(name)
    if corpus is not None:
        return text_meta(corpus).identity
    return name if is_hub(name) else content_hash(Path(name).expanduser())


def _kept_search(shard: Shard, texts: Iterable[Document], against: Held) -> list[Overlap]:
    meta = shard.meta
    origin = json.dumps([meta.name, meta.version, meta.split, meta.documents, against.identity])
    digest = hashlib.sha256(origin.encode()).hexdigest()[:16]
    folder = cache_dir() / "overlaps" / f"{_NOT_IN_NAMES.sub('_', meta.name)}-{digest}"
    if not folder.is_dir():
        with new_folder(folder) as fresh:
            found = [asdict(overlap) for overlap in overlaps(texts, against)]
            (fresh / "overlaps.json").write_text(json.dumps(found, indent=1), "utf-8")
    return [Overlap(**row) for row in json.loads((folder / "overlaps.json").read_text("utf-8"))]


def _without(shard: Shard, found: Sequence[Overlap], against: Held) -> Shard:
    """The shard with those documents cut out, in memory."""
    lengths = np.diff(shard.starts, append=len(shard.tokens_N))
    kept = np.ones(len(lengths), np.bool_)
    kept[[overlap.number for overlap in found]] = False
    meta = replace(
        shard.meta,
        documents=int(kept.sum()),
        tokens=int(lengths[kept].sum()),
        bytes=shard.meta.bytes - sum(overlap.bytes for overlap in found),
        checked=against.identity,
    )
    starts = np.cumsum(lengths[kept]) - lengths[kept]
    tokens_N = np.asarray(shard.tokens_N[np.repeat(kept, lengths)])
    return Shard(tokens_N=tokens_N, starts=starts, meta=meta)
