"""Answers that must be JSON: llguidance says which tokens may come next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from asnn_goose.infer.text import Vocabulary

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

OBJECT = {"type": "object"}
"""The schema of `json_object`."""

COMPACT: JsonCompileOptions = {"whitespace_flexible": False}
"""No spaces between tokens of JSON: a small model would otherwise write spaces without end."""


class GrammarError(ValueError):
    """A schema that cannot be turned into a grammar; the message says why."""


class Grammars:
    """Makes grammars for one vocabulary.

    words  rows of the model's head, which may be more than the tokenizer has tokens
    """

    def __init__(self, vocabulary: Vocabulary, words: int) -> None:
        ends = sorted(vocabulary.ends)
        self._words = words
        self._tokenizer = LLTokenizer(vocabulary.core.to_str(), n_vocab=words, eos_token=ends)

    def make(self, schema: Mapping[str, Any]) -> Grammar:
        """A grammar of a JSON schema. Raises GrammarError."""
        try:
            source = LLMatcher.grammar_from_json_schema(json.dumps(schema), COMPACT)
        except ValueError as error:
            raise GrammarError(_first_line(error)) from error
        matcher = LLMatcher(self._tokenizer, source, log_level=0)
        if matcher.is_error():
            raise GrammarError(_first_line(matcher.get_error()))
        return Grammar(matcher, self._words)


class Grammar:
    """Where an answer stands in its grammar."""

    def __init__(self, matcher: LLMatcher, words: int) -> None:
        self._matcher, self._words = matcher, words

    def copy(self) -> Grammar:
        """The same place, to go another way from."""
        return Grammar(self._matcher.deep_copy(), self._words)

    def allowed(self) -> NDArray[np.bool_]:
        """Of every token (V,), whether it may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, count=self._words, bitorder="little").astype(np.bool_)

    def take(self, token: int) -> None:
        """Go on by a token. Raises GrammarError where it may not come."""
        if not self._matcher.consume_token(token):
            raise GrammarError(_first_line(self._matcher.get_error()))

    @property
    def over(self) -> bool:
        """Whether nothing but the end may follow."""
        return bool(self._matcher.is_stopped())


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
