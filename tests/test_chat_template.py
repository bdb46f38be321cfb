"""Chat templates mean what they mean in Transformers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from asnn_goose import template_limits
from asnn_goose.chat_template import ChatTemplate, TextError
from asnn_goose.infer.chat_template import read_chat_template
from asnn_goose.meter import peak_bytes

CHATML = """\
{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
        {{- '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}
    {% endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
TEMPLATES = {
    "chatml": CHATML,
    "tokens": (
        "{{ bos_token }}{% for m in messages %}[{{ m.content | trim }}]{{ eos_token }}{% endfor %}"
    ),
    "json": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}",
    "generation": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}\n"
        "{{ m.content }}!{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    ),
    "loop": (
        "{% for m in messages %}{{ m.content }}"
        "{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}"
    ),
}
MESSAGES = [
    {"role": "user", "content": " Who <are> you, naïve 雪? "},
    {"role": "assistant", "content": "A goose."},
    {"role": "user", "content": "Why?"},
]


@pytest.mark.parametrize("answer", [False, True])
@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES)
def test_rendering_is_that_of_transformers(source: str, answer: bool) -> None:
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    expected, _ = render_jinja_template(
        conversations=[MESSAGES], chat_template=source, add_generation_prompt=answer, **tokens
    )
    assert ChatTemplate(source, tokens=tokens).render(MESSAGES, answer=answer) == expected[0]


def test_a_refusal_of_the_template_is_passed_on() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(TextError, match="refuses these messages: roles must alternate"):
        template.render(MESSAGES)


def test_the_sandbox_holds() -> None:
    template = ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(TextError, match="unsafe"):
        template.render(MESSAGES)
    with pytest.raises(TextError):
        ChatTemplate("{{ messages.append(1) }}").render(MESSAGES)


def test_what_is_no_template_is_named() -> None:
    with pytest.raises(TextError, match="is no Jinja template"):
        ChatTemplate("{% for %}")


def test_where_templates_lie(tmp_path: Path) -> None:
    assert read_chat_template(tmp_path) is None
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": "one {{ eos_token }}", "eos_token": "E"}))
    assert text_of(tmp_path) == "one E"
    named = [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]
    config.write_text(json.dumps({"chat_template": named}))
    assert text_of(tmp_path) == "d"
    for foreign in ([1], [{"name": ["default"]}], {"default": "d"}):
        config.write_text(json.dumps({"chat_template": foreign}))
        assert read_chat_template(tmp_path) is None
    (tmp_path / "chat_template.jinja").write_text("file")
    assert text_of(tmp_path) == "file"


def text_of(folder: Path) -> str:
    template = read_chat_template(folder)
    assert template is not None
    return template.render([])


@pytest.mark.parametrize("source", ["{{ 1 / 0 }}", "{{ [][1].x }}", "{{ 'a' + 1 }}"])
def test_whatever_a_template_computes_wrongly_is_its_own_fault(source: str) -> None:
    with pytest.raises(TextError, match="the chat template refuses these messages"):
        ChatTemplate(source).render([{"role": "user", "content": "a"}])


BOMBS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops in silence": "{% for a in range(99999) if range(99999) | sum < 0 %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "much text": "{% for a in range(99999) %}" + "x" * 5000 + "{% endfor %}",
    "a product": "{{ 'x' * 999999999999 }}",
    "a list": "{{ ([0] * 999999999999) | length }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "a power by steps": (
        "{% set n = namespace(x=2) %}{% for a in range(99999) %}{% set n.x = n.x * n.x %}"
        "{% endfor %}"
    ),
    "doubling": (
        "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}"
    ),
    "doubling with +": (
        "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}"
        "{% endfor %}"
    ),
    "doubling by writing": (
        "{% set n = namespace(x='ab') %}{% for a in range(99) %}"
        "{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}"
    ),
    "center": "{{ 'x' | center(999999999999) }}",
    "a method": "{{ 'x'.ljust(999999999999) }}",
    "replace": "{{ ('x' * 99999) | replace('x', 'x' * 99999) }}",
    "join": "{{ (['x' * 9999] * 99999) | join('x' * 9999) }}",
    "a format": "{{ '%999999999d' % 1 }}",
    "a filter's format": "{{ '%999999999d' | format(1) }}",
    "a method's format": "{{ '{:999999999}'.format(1) }}",
    "json": "{{ [1, 2] | tojson(indent=999999999999) }}",
    "depth": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_a_template_ends_in_time_and_room(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "SECONDS", 0.3)
    before, began = peak_bytes(), time.monotonic()
    with pytest.raises(TextError, match="the chat template"):
        ChatTemplate(source).render(MESSAGES)
    assert time.monotonic() - began < 20
    assert peak_bytes() - before < 500e6


def test_what_a_template_cannot_name() -> None:
    for word in (template_limits.CLOCK, template_limits.JOINED):
        with pytest.raises(TextError, match="no Jinja template"):
            ChatTemplate("{% set " + word + " = 1 %}")
    with pytest.raises(TextError, match="refuses"):
        ChatTemplate("{{ lipsum(9) }}").render(MESSAGES)


def test_a_long_conversation_is_none_too_long() -> None:
    turns = [{"role": "user", "content": "word " * 2000}] * 400
    assert len(ChatTemplate(CHATML).render(turns)) > 4_000_000


def test_what_a_template_writes_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "MOST_CHARACTERS", 10)
    clock = template_limits.Clock()
    assert clock(6) == clock(4) == ""
    with pytest.raises(template_limits.LimitError, match="writes more than 10 characters"):
        clock(1)
