"""Corpora fetched, cleaned and tokenised in several processes; what is there already stays."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING

from asnn_goose.data.corpora import find_corpus
from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.corpora.kept_text import known_text_meta
from asnn_goose.data.document import DataError, Split
from asnn_goose.data.shards import ShardMeta, shard, tokenised_meta
from asnn_goose.sources import SourceError, cache_dir
from asnn_goose.threads import usable_cores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def splits_of(corpus: Corpus) -> tuple[Split, ...]:
    """The splits that a corpus has."""
    return ("test",) if corpus.only_evaluated else ("train", "validation", "test")


def prepare(
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    processes: int | None = None,
    tell: Callable[[str], None],
) -> None:
    """Make every split of the named corpora ready for a tokenizer; files and data sets are not.

    A corpus is one job: what an interruption leaves undone is the corpora under way. `tell` is
    called with a line for each that is done: its tokens, how far all are, the rate, the time left.

    Raises SourceError at the end that names every corpus that failed; the others are kept.
    """
    corpora = [corpus for name in names if (corpus := find_corpus(name)) is not None]
    missing = [corpus for corpus in corpora if not is_ready(corpus, tokenizer)]
    # The long ones first, so that no process is left with one of them at the end.
    missing.sort(key=lambda corpus: -corpus.megabytes)
    if not missing:
        return
    pace, failed = _Pace(sum(corpus.megabytes for corpus in missing)), []
    count = min(len(missing), processes or usable_cores())
    with _pool(count) as pool:
        jobs = {pool.submit(_tokenise, corpus.name, tokenizer): corpus for corpus in missing}
        for job in as_completed(jobs):
            corpus = jobs[job]
            try:
                tokens = sum(meta.tokens for meta in job.result())
                tell(f"{corpus.name}: {tokens:,} tokens; {pace.after(corpus.megabytes)}")
            except (SourceError, DataError) as error:
                failed.append(f"{corpus.name}: {error}")
                tell(f"{corpus.name}: failed; {pace.after(corpus.megabytes)}")
    if failed:
        raise SourceError("\n".join(failed))


def is_ready(corpus: Corpus, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether every split of a corpus is in the cache, tokenised."""
    return all(tokenised_meta(corpus, split, tokenizer) for split in splits_of(corpus))


class _Pace:
    """How far the work is, in megabytes of text."""

    def __init__(self, total: float) -> None:
        self._total, self._done, self._start = total, 0.0, time.monotonic()

    def after(self, megabytes: float) -> str:
        """One line, when this much more is done."""
        self._done += megabytes
        seconds = time.monotonic() - self._start
        left = seconds * (self._total - self._done) / self._done
        return (
            f"{self._done:.0f} of about {self._total:.0f} MB, {self._done / seconds:.1f} MB/s, "
            f"{left:.0f} s left"
        )


@contextmanager
def _pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that start afresh: forked ones would share the locks of torch's threads."""
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_follow)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _follow() -> None:
    """End with the process that prepares; a pool's own do not notice when that is killed."""
    parent = parent_process()
    assert parent is not None  # only processes of a pool call this

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _tokenise(name: str, tokenizer: PreTrainedTokenizerBase) -> list[ShardMeta]:
    # One core a process: the tokenizer's own threads would only be in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    corpus = find_corpus(name)
    assert corpus is not None
    return [shard(name, split, tokenizer).meta for split in splits_of(corpus)]


def tokenised(corpus: Corpus) -> list[ShardMeta]:
    """What the cache holds of this text of a corpus, tokenised."""
    known = known_text_meta(corpus)
    metas = []
    for file in sorted((cache_dir() / "shards").glob(f"{corpus.name}-*/meta.json")):
        meta = ShardMeta(**json.loads(file.read_text(encoding="utf-8")))
        if known and (meta.name, meta.version) == (corpus.name, known.identity):
            metas.append(meta)
    return metas
