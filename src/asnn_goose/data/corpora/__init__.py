"""The texts that can be named: packaged corpora, data sets on the Hub, and the user's own files.

In comes a name, out goes a corpus: licence, packages, reader, shares and splits. No text is fetched
before it is asked for, and no tokenizer is known.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from asnn_goose.data.corpora.broad import BROAD as BROAD
from asnn_goose.data.corpora.broad import spelt_out
from asnn_goose.data.corpora.corpus import Corpus as Corpus
from asnn_goose.data.corpora.encyclopaedic import ENCYCLOPAEDIC
from asnn_goose.data.corpora.essays import ESSAYS
from asnn_goose.data.corpora.everyday import EVERYDAY
from asnn_goose.data.corpora.kept_text import kept_documents
from asnn_goose.data.corpora.narrative import NARRATIVE
from asnn_goose.data.corpora.technical import TECHNICAL
from asnn_goose.data.document import DataError, Document, Split, check_split, split_of
from asnn_goose.data.hub import GRAMMAR, hub_text, is_hub, read_hub
from asnn_goose.data.own_text import SUFFIXES, read_own

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus for corpus in (*ENCYCLOPAEDIC, *NARRATIVE, *ESSAYS, *EVERYDAY, *TECHNICAL)
}

DEFAULT_TRAIN = ("sotu", "wiki_vital", "factbook")
DEFAULT_OUT_OF_DOMAIN = ("austen",)


def mixture(
    names: Sequence[str], weights: Sequence[float] = ()
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Texts and weights with the name `broad` spelt out; see `spelt_out`."""
    return spelt_out(names, weights, CORPORA)


def documents(name_or_path: str | Path, split: Split = "train") -> Iterator[Document]:
    """Documents of one split of a named corpus, a data set on the Hub (hf:...), or a file.

    The splits "train", "validation" and "test" are disjoint and stay the same on every machine;
    "all" is the whole text.

    Raises DataError for an unknown name or a file that cannot be used, SourceError where the
    package of a corpus or the Hub cannot be had.
    """
    check_split(split)
    if is_hub(name_or_path):
        return read_hub(hub_text(name_or_path), split)
    corpus = find_corpus(name_or_path)
    if corpus is None:
        return read_own(Path(name_or_path).expanduser(), split)
    if not corpus.only_evaluated:
        return (d for d in kept_documents(corpus) if split in ("all", split_of(d.group)))
    if split in ("test", "all"):
        return kept_documents(corpus)
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
    if name == BROAD:
        raise DataError(f"{BROAD!r} is a mixture of corpora, and one text is wanted here: name one")
    near = difflib.get_close_matches(name, CORPORA, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise DataError(
        f"no corpus {name!r}{hint} Known are {', '.join(CORPORA)}, the mixture {BROAD}, {GRAMMAR}, "
        f"and any file that ends in {' or '.join(SUFFIXES)}"
    )
