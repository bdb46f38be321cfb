"""Data sets on the Hugging Face Hub, read as streams through the `datasets` library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from asnn_goose.data.document import DataError, Document, Split, share_of
from asnn_goose.data.own_text import deal
from asnn_goose.data.tables import needed, text_column
from asnn_goose.sources import SourceError, cache_dir, new_folder

PREFIX = "hf:"
GRAMMAR = "hf:owner/name[/config]?tokens=N[&split=train][&column=text][&revision=main]"

_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?:\?(.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SETTINGS = ("tokens", "split", "column", "revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubText:
    """A data set on the Hub, and how much of it is read.

    repository  owner/name
    tokens      how many are read of all our splits together, for a stream has no other end
    config      part of the data set that its owner has given a name
    split       the split as its owner cut it; ours are dealt out within it
    column      the text; None for "text", else the only column of strings
    revision    branch, tag or commit; what a branch stood at on first use stays
    """

    repository: str
    tokens: int
    config: str | None = None
    split: str = "train"
    column: str | None = None
    revision: str = "main"

    def limit(self, split: Split) -> int:
        """Tokens to read for one of our splits, so that all of them end near the same row."""
        return max(1, round(self.tokens * share_of(split)))


def is_hub(name_or_path: str | Path) -> bool:
    """Whether a name means a data set on the Hub."""
    return str(name_or_path).startswith(PREFIX)


def hub_text(name_or_path: str | Path) -> HubText:
    """What a name such as hf:owner/name?tokens=10_000_000 stands for.

    Raises DataError for a name of another form, and where `tokens` is missing.
    """
    name = str(name_or_path)
    found = _NAME.fullmatch(name)
    if found is None:
        raise DataError(f"{name!r}: wanted {GRAMMAR}")
    repository, config, query = found.groups()
    settings = dict(parse_qsl(query or "", keep_blank_values=True))
    for setting, value in settings.items():
        if setting not in _SETTINGS:
            raise DataError(f"{name!r}: no setting {setting!r}; known are {', '.join(_SETTINGS)}")
        if not value:
            raise DataError(f"{name!r}: {setting} is empty: wanted {GRAMMAR}")
    tokens = _tokens(name, settings.pop("tokens", None))
    return HubText(repository=repository, config=config, tokens=tokens, **settings)


def _tokens(name: str, value: str | None) -> int:
    if value is None:
        raise DataError(
            f"{name!r}: tokens is missing: a stream needs a limit, such as tokens=10_000_000"
        )
    if not re.fullmatch(r"\d[\d_]*", value) or (number := int(value.replace("_", ""))) < 1:
        raise DataError(f"{name!r}: tokens = {value}: must be a whole number above 0")
    return number


def read_hub(text: HubText, split: Split) -> Iterator[Document]:
    """Documents of one split of the whole stream, in its order; `shard` stops at the limit.

    Rows are dealt out to the splits by a hash of their text, as the lines of a .jsonl file are.
    Raises DataError for a missing library, an unknown column or a row without text, SourceError
    where the Hub cannot be read.
    """
    return deal(_texts(text), split, nothing=f"{text.repository} has no rows with text")


def commit_of(text: HubText) -> str:
    """The commit that is read: asked of the Hub on first use, then kept in the cache.

    Raises SourceError where the Hub does not answer or does not have it.
    """
    if _COMMIT.fullmatch(text.revision):
        return text.revision
    name = re.sub(r"[^\w.-]", "+", f"{text.repository}@{text.revision}")
    folder = cache_dir() / "hub" / name
    if not folder.is_dir():
        with _hub_errors(text):
            client = import_module("huggingface_hub").HfApi()
            # Asked once and kept: a branch that moves would give another text under the same name.
            commit = client.dataset_info(text.repository, revision=text.revision).sha
        with new_folder(folder) as fresh:
            (fresh / "commit").write_text(str(commit), "utf-8")
    return (folder / "commit").read_text("utf-8")


def _texts(text: HubText) -> Iterator[tuple[str, str]]:
    column = None
    for number, row in enumerate(hub_rows(text)):
        place = f"{text.repository}, row {number}"
        # By the first row: a stream need not say what its columns are.
        if column is None:
            strings = [name for name, value in row.items() if isinstance(value, str)]
            column = text_column(strings, list(row), text.column, place=place)
        value = row.get(column)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{place}: column {column!r} is to be text, found {value!r:.60}")
        yield f"{text.repository}:{number}", value or ""


def hub_rows(text: HubText) -> Iterator[Mapping[str, Any]]:
    """Rows of a data set as they come. Raises DataError and SourceError as `read_hub` does."""
    commit = commit_of(text)
    library = needed("datasets", wanted=f"{PREFIX}{text.repository}")
    with _hub_errors(text):
        yield from library.load_dataset(
            text.repository, text.config, split=text.split, revision=commit, streaming=True
        )


@contextmanager
def _hub_errors(text: HubText) -> Iterator[None]:
    # The client's own HTTPError is no OSError where no answer came at all.
    http_error = import_module("huggingface_hub.errors").HTTPError
    try:
        yield
    except (OSError, ValueError, http_error) as error:
        raise SourceError(
            f"data set {text.repository} (config {text.config}, split {text.split}, revision "
            f"{text.revision}) cannot be read from the Hub: {error}. Check the name and the network"
        ) from error
