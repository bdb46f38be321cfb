"""Tokens become text piece by piece, up to a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from asnn_goose.infer.pieces import Window
from asnn_goose.infer.text import Vocabulary, unfinished, unmarked


class Writer:
    """The text of one answer, as it comes.

    stopped  whether a stop string has come; the text ends before it
    """

    def __init__(
        self, vocabulary: Vocabulary, *, prompt: Sequence[int], stops: Sequence[str]
    ) -> None:
        self._window = Window(vocabulary.core, prompt)
        self._marks, self._stops = vocabulary.marks(stops), vocabulary.marked(stops)
        self._held, self.stopped = "", False

    def write(self, token: int) -> str:
        """What is sure to be text after this token; what may be part of a stop string waits."""
        self._held += self._window.add(token) + self._marks.get(token, "")
        return self._until_stop() or self._give(len(self._held) - self._unfinished())

    def rest(self) -> str:
        """What was held back, where the answer ends without its stop string."""
        if self.stopped:
            return ""
        self._held += self._window.rest()
        return self._until_stop() or self._give(len(self._held))

    def _until_stop(self) -> str:
        """The text before the first stop string, once one is there."""
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if not places:
            return ""
        self.stopped = True
        text, self._held = self._give(min(places)), ""
        return text

    def _unfinished(self) -> int:
        return unfinished(self._held, self._stops)

    def _give(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return unmarked(text)
