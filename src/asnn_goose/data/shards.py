"""Tokenise a text once and keep it as a memory-mapped shard.

A shard is a folder in the cache: `tokens.bin` (uint16, or uint32 for a vocabulary of 65536 and
more), `documents.npy` (where each document starts) and `meta.json`. Its name holds a hash of the
text, the split and the tokenizer, so a change of any of them makes another shard.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asnn_goose.data.corpora import Corpus, documents, find_corpus
from asnn_goose.data.corpora.kept_text import known_text_meta, text_meta
from asnn_goose.data.document import DataError, Document, Split
from asnn_goose.data.hub import HubText, commit_of, hub_text, is_hub
from asnn_goose.data.own_text import KEY, content_hash
from asnn_goose.sources import cache_dir, new_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

FORMAT = 2
"""Goes into the key of every shard: raise it when readers or layout change."""

DOCUMENT_SEPARATOR = "<|endoftext|>"

_LOG = logging.getLogger(__name__)
_BATCH_DOCUMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMeta:
    """What a shard was made of.

    name, version  corpus, versions of its packages and hash of its text; file name and hash of its
                   content; or data set on the Hub with its commit and what is read of it
    split          the part of the text
    tokenizer      fingerprint of the tokenizer
    separator      id of the token that ends every document
    dtype          of tokens.bin
    documents, tokens   how many; tokens include one separator per document
    bytes          UTF-8 length of all documents, for bits per byte
    checked        hash of the evaluation texts whose overlaps were cut out; "" for a whole split
    """

    name: str
    version: str
    split: str
    tokenizer: str
    separator: int
    dtype: str
    documents: int
    tokens: int
    bytes: int
    checked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One tokenised split of one text.

    tokens_N  all documents one after the other, each with a separator at its end (memory-mapped)
    starts    index in tokens_N of the first token of each document (int64)
    meta      what it was made of
    """

    tokens_N: NDArray[Any]
    starts: NDArray[np.int64]
    meta: ShardMeta


def shard(name_or_path: str | Path, split: Split, tokenizer: PreTrainedTokenizerBase) -> Shard:
    """The tokenised split of a corpus, a data set on the Hub or the user's file, made on first use.

    Of a data set (hf:...) documents are read until the split has its share of `tokens`; the last
    one stays whole.

    An interrupted run leaves nothing behind that could be taken for a shard; a damaged shard is
    made again, with a warning in the log. Raises DataError where the split is empty or the
    tokenizer has no token to end a document with.
    """
    identity = _identity(name_or_path, split, tokenizer)
    folder = _place(identity)
    damaged = folder.exists()
    if damaged:
        try:
            return _open(folder)
        except (OSError, ValueError, TypeError) as error:
            _LOG.warning("shard %s is damaged (%s): tokenising again", folder, error)
    texts = documents(name_or_path, split)
    limit = hub_text(name_or_path).limit(split) if is_hub(name_or_path) else None
    with new_folder(folder, replace=damaged) as fresh:
        _write(fresh, _within(_tokenised(texts, tokenizer), limit), tokenizer, identity)
    return _open(folder)


def tokenised_meta(
    corpus: Corpus, split: Split, tokenizer: PreTrainedTokenizerBase
) -> ShardMeta | None:
    """What the shard of a corpus is, or None where it is not in the cache: nothing is fetched."""
    known = known_text_meta(corpus)
    if known is None:
        return None
    fingerprint = tokenizer_fingerprint(tokenizer)
    identity = _named(corpus.name, known.identity, split, fingerprint)
    try:
        return _open(_place(identity)).meta
    except (OSError, ValueError, TypeError):
        return None


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of all that decides how a text is cut into ids; the same in every process."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules: Any = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())]
    else:
        rules = json.loads(backend.to_str())
        # A call with padding or truncation leaves these behind in the tokenizer.
        rules.pop("padding", None)
        rules.pop("truncation", None)
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]


def separator_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that ends a document: <|endoftext|>, else eos, else bos.

    Raises DataError where the tokenizer has none of them.
    """
    vocabulary = tokenizer.get_vocab()
    for token in (DOCUMENT_SEPARATOR, tokenizer.eos_token, tokenizer.bos_token):
        if token in vocabulary:
            return int(vocabulary[token])
    raise DataError(
        f"the tokenizer has no token to end a document with: wanted {DOCUMENT_SEPARATOR}, "
        f"an eos token or a bos token"
    )


def _identity(
    name_or_path: str | Path, split: Split, tokenizer: PreTrainedTokenizerBase
) -> dict[str, str]:
    corpus = find_corpus(name_or_path)
    if corpus is not None:
        name, version = corpus.name, text_meta(corpus).identity
    elif is_hub(name_or_path):
        name, version = _hub_identity(hub_text(name_or_path))
    else:
        file = Path(name_or_path).expanduser()
        # The key is fixed now, but stays in the name of shards that caches hold already.
        name = file.name
        version = content_hash(file) + (f"/{KEY}" if file.suffix == ".jsonl" else "")
    return _named(name, version, split, tokenizer_fingerprint(tokenizer))


def _named(name: str, version: str, split: Split, tokenizer: str) -> dict[str, str]:
    return {"name": name, "version": version, "split": split, "tokenizer": tokenizer}


def _hub_identity(text: HubText) -> tuple[str, str]:
    what = (commit_of(text), text.config, text.split, text.column, text.tokens)
    return text.repository, "/".join("" if part is None else str(part) for part in what)


def _place(identity: dict[str, str]) -> Path:
    digest = hashlib.sha256(json.dumps([FORMAT, identity]).encode()).hexdigest()[:16]
    readable = re.sub(r"[^\w.-]", "_", f"{identity['name']}-{identity['split']}")
    return cache_dir() / "shards" / f"{readable}-{digest}"


def _write(
    folder: Path,
    encoded: Iterable[tuple[list[int], int]],
    tokenizer: PreTrainedTokenizerBase,
    identity: dict[str, str],
) -> None:
    # Two bytes a token where they suffice: half of the cache, and of what a window reads.
    dtype = np.dtype(np.uint16 if highest_id(tokenizer) < 65536 else np.uint32)
    separator = separator_id(tokenizer)
    starts, tokens, bytes_ = [], 0, 0
    with (folder / "tokens.bin").open("wb") as stream:
        for ids, size in encoded:
            starts.append(tokens)
            # Written as it comes: a corpus may be larger than memory.
            stream.write(np.array([*ids, separator], dtype).tobytes())
            tokens += len(ids) + 1
            bytes_ += size
        stream.flush()
        # Before the name: a shard that is there is taken to be whole.
        os.fsync(stream.fileno())
    if not starts:
        raise DataError(
            f"{identity['name']} has no text in its split {identity['split']!r}: give a longer "
            f'text, or take the split "all"'
        )
    np.save(folder / "documents.npy", np.array(starts, np.int64))
    meta = ShardMeta(
        **identity,
        separator=separator,
        dtype=dtype.name,
        documents=len(starts),
        tokens=tokens,
        bytes=bytes_,
    )
    (folder / "meta.json").write_text(json.dumps(asdict(meta), indent=1), "utf-8")


def _within(
    encoded: Iterable[tuple[list[int], int]], limit: int | None
) -> Iterator[tuple[list[int], int]]:
    """Documents until they and their separators have reached `limit` tokens."""
    tokens = 0
    for ids, size in encoded:
        # The document that crosses the limit stays whole, as one that is cut would end nowhere.
        yield ids, size
        tokens += len(ids) + 1
        if limit is not None and tokens >= limit:
            return


def _tokenised(
    texts: Iterable[Document], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[list[int], int]]:
    """Ids and UTF-8 length of every document; those without a token are left out."""
    remaining = (document.text for document in texts)
    while batch := list(islice(remaining, _BATCH_DOCUMENTS)):
        for text, ids in zip(batch, document_ids(tokenizer, batch), strict=True):
            if ids:
                yield ids, len(text.encode())


def document_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids of documents as Transformers gives them, without the separator that is to follow.

    A token that the tokenizer puts in front (BOS) belongs to them, an end token that it puts
    behind is left to the separator. A text without tokens of its own gives none.
    """
    encode: Any = partial(tokenizer.__call__, return_attention_mask=False, verbose=False)
    separator, nothing = separator_id(tokenizer), encode("")["input_ids"]
    found = encode(texts)["input_ids"] if texts else []
    return [[] if ids == nothing else ids[:-1] if ids[-1] == separator else ids for ids in found]


def highest_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The highest id that the tokenizer gives; vocabularies have holes."""
    return max(tokenizer.get_vocab().values())


def _open(folder: Path) -> Shard:
    meta = ShardMeta(**json.loads((folder / "meta.json").read_text("utf-8")))
    file, dtype = folder / "tokens.bin", np.dtype(meta.dtype)
    wanted, found = meta.tokens * dtype.itemsize, file.stat().st_size
    if found != wanted:
        raise ValueError(f"{file.name} has {found} bytes, wanted {wanted}")
    starts = np.load(folder / "documents.npy")
    if starts.shape != (meta.documents,):
        raise ValueError(f"documents.npy has shape {starts.shape}, wanted ({meta.documents},)")
    return Shard(tokens_N=np.memmap(file, dtype, mode="r"), starts=starts, meta=meta)
