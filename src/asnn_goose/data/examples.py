"""Examples to learn answers from: records become ids, and which of them are an answer.

    {"messages": [{"role": ..., "content": ...}, ...]}      every assistant's turn is an answer
    {"prompt": ..., "completion": ...}                      the completion is
    {"prompt": ..., "chosen": ..., "rejected": ...}         a pair: one prompt, two answers

Prompts, completions and answers are text, or lists of messages. Messages go through the
tokenizer's own chat template, so that the ids are those that a chat will give.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from asnn_goose.data.chat_tokens import Rendered, Renderer
from asnn_goose.data.document import DataError, Split, split_of
from asnn_goose.data.own_text import check_whole, strings_of
from asnn_goose.data.records import Record
from asnn_goose.names import hint

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One conversation or completion.

    ids_N     tokens (int64)
    answer_N  True where a token is part of an answer, and so counts as a label
    place     the record it came from
    """

    ids_N: NDArray[np.int64]
    answer_N: NDArray[np.bool_]
    place: str

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.ids_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one prompt; `chosen` is the better one."""

    chosen: Example
    rejected: Example


def read_examples(
    records: Iterable[tuple[str, Record]], tokenizer: PreTrainedTokenizerBase, *, split: Split
) -> list[Example]:
    """Examples of one split, out of records with messages or with prompt and completion.

    A record is dealt to a split by a hash of its prompt, so that no prompt is in two of them.
    Raises DataError, naming the place, for a record of another form, and where nothing is left.
    """
    renderer, found = Renderer(tokenizer), []
    for place, record in _dealt(records, split, forms=("messages", "completion")):
        if "messages" in record:
            rendered = renderer.conversation(_messages(record, "messages", place), place=place)
        else:
            prompt, answer = _prompt_and(record, "completion", place)
            rendered = renderer.answered(prompt, answer, place=place)
        found.append(_example(rendered, place))
    return _some(found, split)


def read_pairs(
    records: Iterable[tuple[str, Record]], tokenizer: PreTrainedTokenizerBase, *, split: Split
) -> list[Pair]:
    """Pairs of one split, out of records with prompt, chosen and rejected; else as above."""
    renderer, found = Renderer(tokenizer), []
    for place, record in _dealt(records, split, forms=("chosen",)):
        sides = {}
        for key in ("chosen", "rejected"):
            prompt, answer = _prompt_and(record, key, place)
            sides[key] = _example(renderer.answered(prompt, answer, place=place), place)
        found.append(Pair(**sides))
    return _some(found, split)


_FORMS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "completion": ("prompt", "completion"),
    "chosen": ("prompt", "chosen", "rejected"),
}
"""Keys of a record by the one that tells its form."""


def _dealt(
    records: Iterable[tuple[str, Record]], split: Split, *, forms: Sequence[str]
) -> Iterator[tuple[str, Record]]:
    for place, record in records:
        form = next((form for form in forms if form in record), None)
        if form is None:
            wanted = " or ".join(" and ".join(_FORMS[form]) for form in forms)
            found = ", ".join(record) or "none"
            raise DataError(f"{place}: wanted the keys {wanted}, found {found}")
        for key in _FORMS[form]:
            if key not in record:
                raise DataError(f"{place}: no key {key!r}; {hint(key, list(record))}")
            for text in strings_of(record[key]):
                check_whole(text, key=key, place=place)
        if split in ("all", split_of(_group(record))):
            yield place, record


def _group(record: Record) -> str:
    """What decides the split: the prompt, or the first turn of a conversation."""
    known = record["prompt"] if "prompt" in record else record["messages"][:1]
    # Sorted, because the order of keys in a record says nothing.
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def _prompt_and(record: Record, key: str, place: str) -> tuple[Any, Any]:
    """The prompt and what follows it, both text or both messages."""
    prompt, answer = record["prompt"], record[key]
    if isinstance(prompt, str) and isinstance(answer, str):
        # An example without a label would count in no loss, and still take its place.
        if not answer:
            raise DataError(f"{place}: {key} is empty: an answer needs at least one token")
        return prompt, answer
    if isinstance(prompt, str) or isinstance(answer, str):
        raise DataError(f"{place}: prompt and {key} must both be text or both lists of messages")
    return _messages(record, "prompt", place), _messages(record, key, place)


def _messages(record: Record, key: str, place: str) -> list[Mapping[str, str]]:
    messages = record[key]
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{place}: {key} is {messages!r:.60}: wanted a list of messages")
    for message in messages:
        texts = message if isinstance(message, Mapping) else {}
        if not all(isinstance(texts.get(part), str) for part in ("role", "content")):
            raise DataError(
                f"{place}: {key} has {message!r:.60}: wanted an object with role and content, "
                "both text"
            )
    return messages


def _example(rendered: Rendered, place: str) -> Example:
    ids, answer = (np.array(part) for part in (rendered.ids, rendered.answer))
    return Example(ids_N=ids.astype(np.int64), answer_N=answer.astype(np.bool_), place=place)


def _some(found: list[Found], split: Split) -> list[Found]:
    if not found:
        raise DataError(f"there is no example in split {split!r}: give more records")
    return found
