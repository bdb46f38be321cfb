"""What a request may say: OpenAI's fields that we offer, and a few that others have as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MOST_CHOICES = 8

Stop = Annotated[str, Field(min_length=1, max_length=256)]
Token = Annotated[int, Field(ge=0)]


class _Body(BaseModel):
    """Fields by their exact types; others are errors, as a typo would otherwise change nothing."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Asked(_Body):
    """A whole body."""

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, body: Any) -> Any:
        for text in _texts(body):
            # JSON can write such halves, and no tokenizer or log can take them.
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise ValueError("a text with half of a UTF-16 pair has no UTF-8 form")
        return body


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if not value.isascii():
            yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _texts(key)
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            # Long prompts are lists of numbers, which are no texts.
            if not isinstance(entry, int):
                yield from _texts(entry)


class StreamOptions(_Body):
    """Of a stream."""

    include_usage: bool = False


class Drawing(_Asked):
    """What completions and chats have in common. Null means the default.

    spikes  tell with every piece of a stream how the neurons fired (ours)
    user, metadata, store, service_tier say nothing about the answer, and may say only what is so
    """

    model: str = ""
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    spikes: bool = False
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None

    @field_validator("logit_bias")
    @classmethod
    def _tokens(cls, bias: dict[str, float] | None) -> dict[str, float] | None:
        for token in bias or {}:
            if not (token.isascii() and token.isdigit() and len(token) < 10):
                raise ValueError(f"{token!r} is no token id: keys are ids, such as '42'")
        return bias

    @model_validator(mode="after")
    def _only_of_streams(self) -> Drawing:
        for name in ("spikes", "stream_options"):
            # Refused rather than ignored: who asks for it waits for it.
            if getattr(self, name) and not self.stream:
                raise ValueError(f"{name} is told with the pieces of a stream: needs stream = true")
        return self

    @property
    def stops(self) -> Sequence[str]:
        """Stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class Completion(Drawing):
    """A text, or tokens, to go on with; or several.

    echo, best_of and suffix may only say that they are not wanted
    """

    # From left to right: pydantic would otherwise go through a long prompt for every form of it.
    prompt: (
        str
        | Annotated[list[Token], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1, max_length=64)]
        | Annotated[
            list[Annotated[list[Token], Field(min_length=1)]], Field(min_length=1, max_length=64)
        ]
    ) = Field(union_mode="left_to_right")
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: Literal[""] | None = None

    @property
    def prompts(self) -> Sequence[str | list[int]]:
        """One entry for each prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        first = self.prompt[0]
        return [self.prompt] if isinstance(first, int) else self.prompt  # type: ignore[list-item,return-value]


class TextPart(_Body):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: str


class ChatMessage(_Body):
    """One turn. `developer` is what OpenAI calls system by now."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    @property
    def message(self) -> dict[str, str]:
        """As a chat template takes it."""
        # Templates know the old word alone.
        role = "system" if self.role == "developer" else self.role
        content = self.content
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        return {"role": role, "content": content}


class JsonSchema(_Body):
    """A schema that the answer fits."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())

    name: str = ""
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(_Body):
    """What the answer must be: anything, a JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with type = json_schema, and only with it")
        return self


class Chat(Drawing):
    """A conversation that wants an answer."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=4096)]
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Chat:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs = true")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens is the old name of max_completion_tokens: give one")
        return self


class Tokenize(_Asked):
    """A text, or a conversation, to be told in tokens."""

    model: str = ""
    text: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Tokenize:
        if (self.text is None) == (self.messages is None):
            raise ValueError("give text or messages")
        return self
