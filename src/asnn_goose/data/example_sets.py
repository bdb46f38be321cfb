"""Sets of examples by name: built-in instructions, files of the user's, data sets on the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from asnn_goose.data.decontaminate import Held
from asnn_goose.data.document import DataError, Split
from asnn_goose.data.examples import Example, Pair, read_examples, read_pairs
from asnn_goose.data.hub import hub_text, is_hub
from asnn_goose.data.instructions import INSTRUCTIONS, without_template
from asnn_goose.data.own_text import strings_of
from asnn_goose.data.preferences import spoilt
from asnn_goose.data.records import SUFFIXES, Record, read_records
from asnn_goose.data.shards import separator_id
from asnn_goose.names import hint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Found = TypeVar("Found")
Key = tuple[tuple[str, ...], Split]
"""Names of sets, and the split of each."""


def check_example_set(name: str) -> str:
    """The name, where it can mean examples. Raises DataError for another."""
    if is_hub(name):
        hub_text(name)
    elif name not in INSTRUCTIONS and Path(name).suffix not in SUFFIXES:
        raise DataError(
            f"no examples {name!r}; {hint(name, INSTRUCTIONS)}, a file that ends in "
            f"{' or '.join(SUFFIXES)}, or a data set (hf:...)"
        )
    return name


class ExampleSets:
    """Examples and pairs, cut by one tokenizer; each split of a list of names is read once.

    against  evaluation texts: records that share thirteen words in a row with one are left out
    padding  token that fills rows up

    Built-in sets have the splits of their corpora; records of files and data sets are dealt to
    splits by their prompts. A built-in set of questions gives pairs too (data.preferences).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, against: Held | None = None) -> None:
        self._tokenizer, self._against = tokenizer, against
        self._examples: dict[Key, list[Example]] = {}
        self._pairs: dict[Key, list[Pair]] = {}
        self.padding = separator_id(tokenizer)

    @property
    def ends(self) -> frozenset[int]:
        """Tokens after which an answer is over."""
        eos = self._tokenizer.eos_token_id
        return frozenset({self.padding} | ({eos} if isinstance(eos, int) else set()))

    def examples(self, names: Sequence[str], split: Split) -> list[Example]:
        """Examples of all sets. Raises DataError, or SourceError where a set cannot be had."""
        return self._once(self._examples, names, split, read_examples)

    def pairs(self, names: Sequence[str], split: Split) -> list[Pair]:
        """Pairs of all sets; raises as `examples` does."""
        return self._once(self._pairs, names, split, read_pairs, pairs=True)

    def _once(
        self,
        kept: dict[Key, list[Found]],
        names: Sequence[str],
        split: Split,
        read: Callable[..., list[Found]],
        *,
        pairs: bool = False,
    ) -> list[Found]:
        key = (tuple(names), split)
        if key not in kept:
            found: list[Found] = []
            for name in names:
                # A built-in set gives one split already; other records are dealt to splits.
                dealt = "all" if name in INSTRUCTIONS else split
                records = self.records(name, split, pairs=pairs)
                found += read(records, self._tokenizer, split=dealt)
            kept[key] = found
        return kept[key]

    def records(
        self, name: str, split: Split, *, pairs: bool = False
    ) -> Iterator[tuple[str, Record]]:
        """(place, record) of a set: of a built-in one of a split, of others of all splits."""
        found: Iterable[tuple[str, Record]]
        if (built_in := INSTRUCTIONS.get(name)) is None:
            found = read_records(name)
        else:
            found = spoilt(built_in.records(split)) if pairs else built_in.records(split)
            if self._tokenizer.chat_template is None:
                found = ((place, without_template(record)) for place, record in found)
        # Here, so that no way to examples leads past the check.
        against = self._against
        for place, record in found:
            if against is None or not any(map(against.overlap, strings_of(record))):
                yield place, record


def fingerprint(examples: Iterable[Example]) -> str:
    """Hash of the tokens of examples, and of which of them are answers."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(len(example).to_bytes(8, "little"))
        digest.update(example.ids_N.tobytes())
        digest.update(example.answer_N.tobytes())
    return digest.hexdigest()[:16]
