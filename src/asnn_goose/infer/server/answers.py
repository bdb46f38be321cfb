"""Answers in OpenAI's forms: whole, or in the chunks of a stream."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from asnn_goose.infer.server.chooser import Drawn
from asnn_goose.infer.server.costs import Activity
from asnn_goose.infer.server.job import Begun, Ended, Event, Job, Piece
from asnn_goose.infer.text import Vocabulary

Kind = Literal["chat", "text"]

DONE = "data: [DONE]\n\n"
# Kept: json.dumps makes one anew for every event that is not written in its default way.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

REPLACEMENT = "\ufffd"
"""What a decoder shows of a character whose other bytes are in the next token."""


@dataclass(slots=True)
class Usage:
    """Tokens of a request so far."""

    prompt: int = 0
    cached: int = 0
    drawn: int = 0

    def see(self, job: Job, event: Event) -> None:
        """Count what an event tells."""
        # Once for each prompt, however many answers it gets: a prompt is read, and so counted,
        # once.
        if isinstance(event, Begun):
            self.prompt += len(job.prompt)
            self.cached += event.cached
        self.drawn += isinstance(event, Piece)

    @property
    def body(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.drawn,
            "total_tokens": self.prompt + self.drawn,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass(slots=True)
class Told:
    """One answer so far; `offset` is the length of the tokens that a stream has named."""

    text: str = ""
    drawn: list[Drawn] = field(default_factory=list)
    reason: str | None = None
    offset: int = 0


class Scribe:
    """Writes down one answer to a request.

    kind      a chat's message, or a text
    logprobs  whether they are told
    """

    def __init__(
        self,
        kind: Kind,
        *,
        model: str,
        fingerprint: str,
        vocabulary: Vocabulary,
        activity: Activity,
        logprobs: bool,
    ) -> None:
        self._kind, self._logprobs = kind, logprobs
        self._vocabulary, self._activity = vocabulary, activity
        name = {"chat": "chatcmpl", "text": "cmpl"}[kind]
        self._head = {
            "id": f"{name}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._told = dict[int, Told]()
        self.usage = Usage()

    def see(self, job: Job, event: Event) -> None:
        """Remember what has happened."""
        self.usage.see(job, event)
        if isinstance(event, Piece | Ended):
            told = self._told.setdefault(event.choice, Told())
            told.text += event.text
            if isinstance(event, Piece):
                told.drawn.append(event.drawn)
            else:
                told.reason = event.reason

    def text(self, choice: int) -> str:
        """What one of the answers says so far."""
        return self._told[choice].text

    def whole(self) -> dict[str, Any]:
        """The answer at its end."""
        choices = []
        for number, told in sorted(self._told.items()):
            said: dict[str, Any] = {"text": told.text}
            if self._kind == "chat":
                said = {"message": {"role": "assistant", "content": told.text, "refusal": None}}
            logprobs = self._logprobs_of(told.drawn, 0)
            reason = {"finish_reason": told.reason, "logprobs": logprobs}
            choices.append({"index": number, **said, **reason})
        form = {"chat": "chat.completion", "text": "text_completion"}[self._kind]
        return self._head | {"object": form, "choices": choices, "usage": self.usage.body}

    def opening(self, choices: int) -> str:
        """The first chunks of a stream: a chat's say whose turn it is."""
        if self._kind == "text":
            return ""
        delta = {"role": "assistant", "content": ""}
        return "".join(self._chunk(number, {"delta": delta}) for number in range(choices))

    def chunk(self, event: Event) -> str:
        """What a stream says of an event; nothing, where it is nothing to a client."""
        if isinstance(event, Piece):
            extra: dict[str, Any] = {}
            if self._logprobs:
                told = self._told[event.choice]
                extra["logprobs"] = self._logprobs_of([event.drawn], told.offset)
                told.offset += len(self._word(event.drawn.token))
            if event.spikes is not None:
                extra["spikes"] = self._activity.of_token(event.spikes)
            if event.text or extra:
                return self._chunk(event.choice, self._said(event.text) | extra)
        if isinstance(event, Ended):
            said = self._said(event.text)
            return self._chunk(event.choice, said | {"finish_reason": event.reason})
        return ""

    def closing(self, *, usage: bool) -> str:
        """The end of a stream, with the usage if that was asked for."""
        return (self._event({"choices": [], "usage": self.usage.body}) if usage else "") + DONE

    def _said(self, text: str) -> dict[str, Any]:
        if self._kind == "text":
            return {"text": text}
        return {"delta": {"content": text} if text else {}}

    def _chunk(self, number: int, said: Mapping[str, Any]) -> str:
        empty = {"index": number, "finish_reason": None, "logprobs": None}
        return self._event({"choices": [{**empty, **said}]})

    def _event(self, content: Mapping[str, Any]) -> str:
        form = {"chat": "chat.completion.chunk", "text": "text_completion"}[self._kind]
        return server_sent({**self._head, "object": form, **content})

    def _logprobs_of(self, drawn: Sequence[Drawn], offset: int) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        if self._kind == "chat":
            return {"content": [self._entry(found) for found in drawn], "refusal": None}
        words = [self._word(found.token) for found in drawn]
        offsets = [offset + sum(map(len, words[:place])) for place in range(len(words))]
        return {
            "tokens": words,
            "token_logprobs": [found.logprob for found in drawn],
            "top_logprobs": [{self._word(t): p for t, p in found.likeliest} for found in drawn],
            "text_offset": offsets,
        }

    def _entry(self, found: Drawn) -> dict[str, Any]:
        top = [self._named(token, logprob) for token, logprob in found.likeliest]
        return self._named(found.token, found.logprob) | {"top_logprobs": top}

    def _named(self, token: int, logprob: float | None) -> dict[str, Any]:
        word = self._word(token)
        known = None if REPLACEMENT in word else list(word.encode())
        return {"token": word, "logprob": logprob, "bytes": known}

    def _word(self, token: int) -> str:
        word: str = self._vocabulary.core.decode([token], skip_special_tokens=False)
        return word


def server_sent(content: Mapping[str, Any]) -> str:
    """One event of a stream."""
    return f"data: {_ENCODER.encode(content)}\n\n"
