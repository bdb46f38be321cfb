"""What a teacher's texts begin with: a place, a kind and its own way of drawing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from asnn_goose.data.document import DataError
from asnn_goose.data.shards import Shard, document_ids
from asnn_goose.losses.kinds import check_temperature
from asnn_goose.names import check_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOOKED_AT = 96
"""Tokens of a text in which a title, a question or something said is looked for."""

TRIES = 500
"""Places of the texts that are looked at for one prompt."""

_TITLE = re.compile(r"\s*(\S[^\n]{2,78}\S)[ \t]*\n")
_QUESTION = re.compile(r"(?:(?<=[.!?] )|(?<=\n))[A-Z][^.!?\n]{12,160}\?")
_SAID = re.compile(r"[\"\u201c]([^\"\u201c\u201d\n]{12,160})[\"\u201d]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of prompts, and how texts are drawn after them.

    name         a row of PROMPTS
    share        of the batches, beside those of other kinds
    temperature  1 is the teacher's own distribution
    top_p        draw from the fewest tokens that hold this much probability

    Raises ValueError for what is no kind, and for settings that give no text.
    """

    name: str = "passage"
    share: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_name(PROMPTS, self.name, setting="kind")
        check_temperature(self.temperature)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: must be above 0 and at most 1")
        if not 0 < self.share < float("inf"):
            raise ValueError(f"share = {self.share} of {self.name}: must be above 0")


class Prompts:
    """Prompts out of tokenised training texts, by nothing but the generator that is given.

    length    tokens of a passage or an opening
    longest   tokens of any other prompt
    Raises DataError where no document holds a passage.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        tokenizer: PreTrainedTokenizerBase,
        *,
        length: int,
        longest: int,
    ) -> None:
        self._shards, self._tokenizer = shards, tokenizer
        self._length, self._longest = length, longest
        # Of every document without its separator, over all texts.
        sizes = [np.diff(s.starts, append=len(s.tokens_N)) - 1 for s in shards]
        self._starts = np.concatenate([shard.starts for shard in shards])
        self._whose = np.repeat(np.arange(len(shards)), [len(size) for size in sizes])
        self._sizes = np.concatenate(sizes)
        self._places = np.cumsum(np.maximum(self._sizes - length + 1, 0))
        if not self._places[-1]:
            raise DataError(
                f"prompt_tokens = {length}: needs a document of as many tokens, the longest has "
                f"{self._sizes.max()}; give fewer, or other texts"
            )

    def passage(self, random: np.random.Generator) -> Tensor:
        """Tokens from any place of the texts that has as many before its document ends."""
        place = int(random.integers(self._places[-1]))
        number = int(np.searchsorted(self._places, place, side="right"))
        last = int(self._places[number]) - place  # at least 1, places being counted from its end
        most = int(self._sizes[number]) - self._length + 1
        return self._tokens(number, most - last, self._length)

    def opening(self, random: np.random.Generator) -> Tensor:
        """The first tokens of a document, each text being as likely as any other."""
        number = self._document(random)
        return self._tokens(number, 0, min(self._length, int(self._sizes[number])))

    def title(self, random: np.random.Generator) -> Tensor:
        """The first line of a document, and an empty one."""
        return self._found(random, _TITLE.match, "{}\n\n", first=True)

    def question(self, random: np.random.Generator) -> Tensor:
        """A question that stands in a text, to be answered."""
        return self._found(random, _QUESTION.search, "Question: {}\nAnswer:")

    def dialogue(self, random: np.random.Generator) -> Tensor:
        """Something that is said in a text, to be replied to."""
        return self._found(random, _SAID.search, "A: {}\nB:")

    def _found(
        self,
        random: np.random.Generator,
        find: Callable[[str], re.Match[str] | None],
        form: str,
        *,
        first: bool = False,
    ) -> Tensor:
        for _ in range(TRIES):
            number = self._document(random)
            size = int(self._sizes[number])
            start = 0 if first else int(random.integers(max(1, size - LOOKED_AT + 1)))
            text = self._tokenizer.decode(
                self._tokens(number, start, min(LOOKED_AT, size - start)).tolist()
            )
            if found := find(str(text)):
                said = found.group(found.lastindex or 0)
                ids = document_ids(self._tokenizer, [form.format(said)])[0]
                if 0 < len(ids) <= self._longest:
                    return torch.tensor(ids)
        raise DataError(
            f"{TRIES} places of the texts hold nothing for prompts such as {form!r} of at most "
            f"{self._longest} tokens: leave the kind out, or give other texts"
        )

    def _document(self, random: np.random.Generator) -> int:
        """One that is not empty, of a text that is as likely as any other."""
        while True:
            text = int(random.integers(len(self._shards)))
            first, last = np.searchsorted(self._whose, (text, text + 1))
            number = int(random.integers(first, last))
            if self._sizes[number] > 0:
                return number

    def _tokens(self, number: int, first: int, count: int) -> Tensor:
        start = int(self._starts[number]) + first
        tokens_N = self._shards[self._whose[number]].tokens_N[start : start + count]
        return torch.from_numpy(tokens_N.astype(np.int64))


PROMPTS: dict[str, Callable[[Prompts, np.random.Generator], Tensor]] = {
    "passage": Prompts.passage,
    "opening": Prompts.opening,
    "title": Prompts.title,
    "question": Prompts.question,
    "dialogue": Prompts.dialogue,
}
