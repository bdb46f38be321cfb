"""From messages to ids and back to which of them are an answer, by the tokenizer's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asnn_goose.chat_template import ChatTemplate, Message, TextError
from asnn_goose.data.document import DataError
from asnn_goose.data.shards import separator_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASSISTANT = "assistant"
"""The role whose turns are answers."""

Span = tuple[int, int]
"""First character, and the one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Ids of a text, and for each whether it is part of an answer."""

    ids: list[int]
    answer: list[bool]


def template_of(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate | None:
    """A tokenizer's chat template, if it has one."""
    source = tokenizer.chat_template
    tokens = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    return ChatTemplate(source, tokens=tokens) if isinstance(source, str) else None


class Renderer:
    """Renders with one tokenizer. Raises DataError where it cannot tell where its tokens lie."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise DataError(
                f"{type(tokenizer).__name__} cannot say which characters a token stands for, and "
                "an answer's tokens must be told from the prompt's: take one with a tokenizer.json"
            )
        self._tokenizer, self._separator = tokenizer, separator_id(tokenizer)
        self._template = template_of(tokenizer)

    def conversation(self, messages: Sequence[Message], *, place: str, after: int = 0) -> Rendered:
        """A conversation; the turns of the assistant from number `after` on are its answers.

        Where a turn begins and ends is found by rendering what comes before it, with the template's
        own start of an answer. The ids are those of the whole text, cut at one go: a token may run
        over the border, and one that begins before the answer belongs to the prompt.
        Raises DataError where there is no answer, or the template rewrites earlier turns.
        """
        spans: list[Span] = []
        whole = self._text(messages, place, answer=False)
        for number, message in enumerate(messages):
            if number >= after and message["role"] == ASSISTANT:
                before = self._text(messages[:number], place, answer=True) if number else ""
                through = self._text(messages[: number + 1], place, answer=False)
                # Spans of parts are spans of the whole only if the whole begins with the parts.
                if not (whole.startswith(through) and through.startswith(before)):
                    raise DataError(
                        f"{place}: the chat template changes earlier turns when later ones come: "
                        f"turn {number + 1} cannot be learned within the whole; split the "
                        "conversation so that each answer is the last turn"
                    )
                spans.append((len(before), len(through)))
        if not spans:
            raise DataError(f"{place}: no turn of role {ASSISTANT!r}: there is no answer to learn")
        return self._cut(whole, spans, special=False)

    def answered(
        self, prompt: str | Sequence[Message], answer: str | Sequence[Message], *, place: str
    ) -> Rendered:
        """A prompt and what follows it: messages through the template, text as it stands.

        Text ends with the document separator, which is part of the answer: who learns it stops.
        """
        if isinstance(prompt, str) and isinstance(answer, str):
            found = self._cut(
                prompt + answer, [(len(prompt), len(prompt) + len(answer))], special=True
            )
            # Some tokenizers add it themselves; twice would teach an empty document.
            if found.ids[-1:] != [self._separator]:
                found.ids.append(self._separator)
                found.answer.append(True)
            found.answer[-1] = True
            return found
        messages: list[Mapping[str, str]] = [*prompt, *answer]
        return self.conversation(messages, place=place, after=len(prompt))

    def _text(self, messages: Sequence[Message], place: str, *, answer: bool) -> str:
        if self._template is None:
            raise DataError(
                f"{place}: messages need a chat template, and the tokenizer has none: give prompt "
                "and completion as text, or a tokenizer with one"
            )
        try:
            return self._template.render(messages, answer=answer)
        except TextError as error:
            raise DataError(f"{place}: {error}") from error

    def _cut(self, text: str, spans: Sequence[Span], *, special: bool) -> Rendered:
        """Ids of a text; special tokens such as BOS are added where the template adds none."""
        found = self._tokenizer(
            text,
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        answer = [
            # Wholly inside, and not empty: special tokens that stand for no character have the span
            # (0, 0).
            any(first <= start and end <= last and start < end for first, last in spans)
            for start, end in found["offset_mapping"]
        ]
        return Rendered(ids=list(found["input_ids"]), answer=answer)
