"""Chat templates mean what they mean in Transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from asnn_goose.chat_template import ChatTemplate, TextError
from asnn_goose.infer.chat_template import read_chat_template

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
