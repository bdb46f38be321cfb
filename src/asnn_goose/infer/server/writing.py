"""Tokens become text piece by piece, up to a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers.decoders import DecodeStream

from asnn_goose.infer.text import CONTEXT, Vocabulary, unfinished


class Writer:
    """The text of one answer, as it comes.

    stopped  whether a stop string has come; the text ends before it
    """

    def __init__(
        self, vocabulary: Vocabulary, *, prompt: Sequence[int], stops: Sequence[str]
    ) -> None:
        self._core, self._stops = vocabulary.core, stops
        self._decoder = DecodeStream(ids=list(prompt[-CONTEXT:]), skip_special_tokens=True)
        self._held, self.stopped = "", False

    def write(self, token: int) -> str:
        """What is sure to be text after this token; what may be part of a stop string waits."""
        self._held += self._decoder.step(self._core, token) or ""
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.stopped = True
            return self._give(min(places))
        return self._give(len(self._held) - unfinished(self._held, self._stops))

    def rest(self) -> str:
        """What was held back, where the answer ends without its stop string."""
        return "" if self.stopped else self._give(len(self._held))

    def _give(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text
