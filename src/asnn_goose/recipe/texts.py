"""The texts of a recipe: made ready, checked against what is evaluated, opened as shards."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedTokenizerBase

from asnn_goose.data.corpora import find_corpus
from asnn_goose.data.decontaminate import WORDS, Held, decontaminated, held
from asnn_goose.data.document import Split
from asnn_goose.data.prepare import prepare
from asnn_goose.data.shards import Shard, shard
from asnn_goose.recipe.schema import Recipe
from asnn_goose.sources import SourceError


def load_texts(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, *, tell: Callable[[str], None]
) -> tuple[list[Shard], list[Shard]]:
    """Shards to train on, and those held out where a stage ends by validation.

    Raises what data and sources raise.
    """
    names = recipe.data.train
    prepare(names, tokenizer, tell=tell)
    against = _evaluated(recipe, tell)
    shards = []
    for name in names:
        tell(f"reading {name}")
        shards.append(_checked(shard(name, "train", tokenizer), name, against, tell))
    validated = any(s.end is not None and s.end.by == "validation" for s in recipe.stage)
    return shards, [shard(name, "validation", tokenizer) for name in (names if validated else ())]


def _evaluated(recipe: Recipe, tell: Callable[[str], None]) -> Held:
    """What no training document may share words with."""
    data = recipe.data
    names = data.out_of_domain if data.decontaminate is None else data.decontaminate
    try:
        return held([(name, evaluated_split(name)) for name in names])
    except SourceError as error:
        if data.decontaminate is not None:
            raise
        # Nobody asked for the check, and training needs no text but its own.
        tell(f"not checked against {', '.join(names)}: {error}")
        return held([])


def evaluated_split(name: str) -> Split:
    """The part of a text that is evaluated: the test split of a corpus, or all of a file."""
    return "all" if find_corpus(name) is None else "test"


def _checked(text: Shard, name: str, against: Held, tell: Callable[[str], None]) -> Shard:
    kept, left_out = decontaminated(text, name, against)
    for evaluated in dict.fromkeys(overlap.text for overlap in left_out):
        count = sum(overlap.text == evaluated for overlap in left_out)
        tell(
            f"{name}: {count} of {text.meta.documents} documents share {WORDS} words in a row "
            f"with {evaluated} and are left out"
        )
    return kept
