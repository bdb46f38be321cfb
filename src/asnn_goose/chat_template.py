"""Chat templates: a list of messages becomes the text that an instruct model was trained on.

Training text, a chat and a server take it from here. The settings are those of Transformers, so
that a template means the same in both. Nothing here reads files or imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from asnn_goose.template_limits import CLOCK, BoundedEnvironment, Clock

Message = Mapping[str, str]


class TextError(ValueError):
    """A model's tokenizer or chat template cannot be used; the message says why."""


class ChatTemplate:
    """A Jinja template in a sandbox, which ends. Raises TextError where its source is none."""

    def __init__(self, source: str, *, tokens: Mapping[str, str] | None = None) -> None:
        self.source, self._tokens = source, dict(tokens or {})
        # A template comes from a stranger's file, and must reach nothing but the messages.
        environment = BoundedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        environment.bound_filters()
        try:
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError, MemoryError) as error:
            raise TextError(f"the chat template is no Jinja template: {error}") from error

    def render(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        """The conversation as text, with the start of an answer if so wished.

        Raises TextError for messages that the template refuses, or takes too long or makes too
        much of (template_limits).
        """
        try:
            return self._template.render(
                {CLOCK: Clock(), "messages": list(messages), "add_generation_prompt": answer},
                **self._tokens,
            )
        except Exception as error:  # a template computes, and so raises what Python raises
            said = str(error) or type(error).__name__
            raise TextError(f"the chat template refuses these messages: {said}") from error


class _Generation(Extension):
    """`{% generation %}` marks an answer for training; its contents are taken as they are."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it without ClassVar

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where Jinja's own filter escapes it for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
