"""Tokens become text piece by piece, up to a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from asnn_goose.infer.pieces import TextWindow
from asnn_goose.infer.text import UntilStop, Vocabulary, unmarked


class AnswerText:
    """The text of one answer, as it comes."""

    def __init__(
        self, vocabulary: Vocabulary, *, prompt: Sequence[int], stops: Sequence[str]
    ) -> None:
        self._window, self._marks = TextWindow(vocabulary.core, prompt), vocabulary.marks(stops)
        self._held = UntilStop(vocabulary.marked(stops))

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come; the text ends before it."""
        return self._held.stopped

    def write(self, token: int) -> str:
        """What is sure to be text after this token; what may be part of a stop string waits."""
        piece = self._window.add(token) + self._marks.get(token, "")
        return unmarked(self._held.write(piece))

    def rest(self) -> str:
        """What was held back, where the answer ends without its stop string."""
        last = "" if self.stopped else self._held.write(self._window.rest())
        return unmarked(last + self._held.rest())
