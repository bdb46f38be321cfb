"""Texts to train on: made ready, checked against what is evaluated, opened as shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from asnn_goose.data.corpora import find_corpus
from asnn_goose.data.decontaminate import WORDS, Held, decontaminated, held
from asnn_goose.data.document import Split
from asnn_goose.data.prepare import prepare
from asnn_goose.data.shards import Shard, shard
from asnn_goose.sources import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def training_shards(
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    against: Sequence[str],
    required: bool = True,
    tell: Callable[[str], None],
) -> list[Shard]:
    """The tokenised training split of every text, without what overlaps with evaluation texts.

    `against` names these: corpora, of which the test split counts, or files and data sets, which
    count whole. Where one cannot be fetched and the check is not `required`, nothing is checked.
    `tell` is called with a sentence before each text is read, and where documents are left out.

    Raises what `prepare`, `held`, `shard` and `decontaminated` raise.
    """
    # All at once, in as many processes as there are cores: below they come one by one.
    prepare(names, tokenizer, tell=tell)
    evaluated = held_texts(against, required=required, tell=tell)
    shards = []
    for name in names:
        tell(f"reading {name}")
        shards.append(_checked(shard(name, "train", tokenizer), name, evaluated, tell))
    return shards


def evaluated_split(name: str) -> Split:
    """The part of a text that is evaluated: the test split of a corpus, or all of a file."""
    return "all" if find_corpus(name) is None else "test"


def held_texts(names: Sequence[str], *, required: bool, tell: Callable[[str], None]) -> Held:
    """What evaluation texts hold out; nothing, and said, where one that is not `required` fails."""
    try:
        return held([(name, evaluated_split(name)) for name in names])
    except SourceError as error:
        if required:
            raise
        tell(f"not checked against {', '.join(names)}: {error}")
        return held([])


def _checked(text: Shard, name: str, evaluated: Held, tell: Callable[[str], None]) -> Shard:
    kept, left_out = decontaminated(text, name, evaluated)
    for other in dict.fromkeys(overlap.text for overlap in left_out):
        count = sum(overlap.text == other for overlap in left_out)
        tell(
            f"{name}: {count} of {text.meta.documents} documents share {WORDS} words in a row "
            f"with {other} and are left out"
        )
    return kept
