"""A chat that keeps its state: each turn reads only what is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asnn_goose.chat_template import ChatTemplate
from asnn_goose.infer.backend import EngineError
from asnn_goose.infer.drafts import Drafting
from asnn_goose.infer.draw import draw
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Drawer
from asnn_goose.infer.speculation import Speculation
from asnn_goose.infer.text import Vocabulary, checked, unmarked, until_stop


class Conversation:
    """Messages so far, and a state that has read them.

    The template renders the whole conversation; where the result goes on from what was read,
    only the rest is read, as the tokens that it has in the whole, otherwise (a template that
    rewrites earlier turns, an answer cut at a stop string or inside a token) the state starts anew.

    drafting  proposes tokens, if anything does
    messages  {"role", "content"} in the order of the template
    read      tokens read since the start, all turns together
    drawn     tokens of the last answer
    """

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        template: ChatTemplate,
        *,
        drawer: Drawer,
        system: str | None = None,
        drafting: Drafting | None = None,
    ) -> None:
        self._drafting = drafting
        self._engine, self._vocabulary, self._template = engine, vocabulary, template
        self._drawer, self._system = drawer, system
        self._state, self._text, self._unread = engine.start(), "", list[int]()
        self.messages: list[dict[str, str]] = []
        self.read = self.drawn = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system prompt."""
        self.messages = []
        if self._system is not None:
            self.messages.append({"role": "system", "content": self._system})
        self._restart()

    def answer(
        self,
        said: str,
        *,
        limit: int,
        stops: Sequence[str] = (),
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[str]:
        """The model's answer, piece by piece.

        It ends at an end token, a stop string, after `limit` tokens, or once `cancelled` is true;
        what was said until then stays part of the conversation. Raises TextError where the
        template refuses the messages, which are then as before.
        """
        messages = [*self.messages, {"role": "user", "content": checked(said)}]
        whole = self._template.render(messages)
        self.messages = messages
        new = None
        # The text is compared and not the tokens: an answer's tokens may cut it in another way than
        # the tokenizer would.
        if whole.startswith(self._text):
            new = self._vocabulary.ids_from(whole, len(self._text))
        if new is None:
            self._restart()
            new = self._vocabulary.ids(whole)
        self._unread += new
        self._text, self.drawn = whole, 0
        kept, found = "", self._pieces(limit, cancelled, self._vocabulary.marks(stops))
        try:
            for piece in until_stop(found, self._vocabulary.marked(stops)):
                kept += unmarked(piece)
                yield unmarked(piece)
        finally:
            # Also when it was broken off: the state has read these words.
            self.messages.append({"role": "assistant", "content": kept})

    def save(self, path: str | Path) -> None:
        """Write the conversation to a file."""
        self._engine.save(
            self._state, path, messages=self.messages, text=self._text, unread=self._unread
        )

    def load(self, path: str | Path) -> None:
        """Go on with a saved conversation. Raises EngineError; then nothing has changed."""
        state, notes = self._engine.load_state(path)
        messages, text, unread = (notes.get(key) for key in ("messages", "text", "unread"))
        # Looked at before anything is taken over: a file that does not fit leaves the talk as it
        # is.
        if not (
            isinstance(messages, list)
            and all(map(_is_message, messages))
            and isinstance(text, str)
            and isinstance(unread, list)
        ):
            raise EngineError(f"{path} holds a state without a conversation: load one of /save")
        self._state, self._text, self._unread = state, text, [int(token) for token in unread]
        self.messages = list(messages)

    def _restart(self) -> None:
        self._state = self._engine.start()
        self._text, self._unread = "", list[int]()

    def _pieces(
        self, limit: int, cancelled: Callable[[], bool], marks: Mapping[int, str]
    ) -> Iterator[str]:
        drawn = self._draw(limit, cancelled)
        for piece in self._vocabulary.pieces(self._unread, drawn, marks=marks):
            self._text += unmarked(piece)
            yield piece

    def _draw(self, limit: int, cancelled: Callable[[], bool]) -> Iterator[int]:
        """Tokens until the answer is over; the last of them is left unread."""
        ends = self._vocabulary.ends
        if self._drafting is not None:
            yield from self._draw_drafted(self._drafting, limit, cancelled)
            return
        drawn = draw(self._read, self._unread, drawer=self._drawer, limit=limit, ends=ends)
        while not cancelled() and (token := next(drawn, None)) is not None:
            # Noted before anybody hears of it, as the answer may be broken off at any token.
            self._unread, self.drawn = [token], self.drawn + 1
            yield token

    def _draw_drafted(
        self, drafting: Drafting, limit: int, cancelled: Callable[[], bool]
    ) -> Iterator[int]:
        """The same with drafts; the state stands right when this ends, however it does."""
        before = self._state.position
        found = Speculation(
            self._engine,
            self._state,
            self._unread,
            drafting=drafting,
            drawer=self._drawer,
            limit=limit,
            ends=self._vocabulary.ends,
        )
        drawn = found.tokens()
        try:
            while not cancelled() and (token := next(drawn, None)) is not None:
                self.drawn += 1
                yield token
        finally:
            drawn.close()
            self._unread = found.unread
            self.read += self._state.position - before

    def _read(self, ids: list[int]) -> NDArray[np.float32]:
        """Logits (V,) after these tokens, as rough as the drawing does not notice."""
        logits_V = self._engine.prefill(self._state, ids, **self._drawer.sampling.rough)
        self.read += len(ids)
        self._unread = []
        return logits_V


def _is_message(found: Any) -> bool:
    return isinstance(found, dict) and found.keys() == {"role", "content"}
