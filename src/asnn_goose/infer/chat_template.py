"""The chat template that lies beside a tokenizer."""

from __future__ import annotations

from pathlib import Path

from asnn_goose import disk
from asnn_goose.chat_template import ChatTemplate
from asnn_goose.infer.text import special_tokens, tokenizer_config


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The template beside a tokenizer: chat_template.jinja, else tokenizer_config.json, else None.

    Of several named ones, the one called default.
    """
    tokens, file = special_tokens(folder), folder / "chat_template.jinja"
    if file.is_file():
        return ChatTemplate(disk.read_text(file), tokens=tokens)
    found = tokenizer_config(folder).get("chat_template")
    if isinstance(found, list):
        named = [entry for entry in found if isinstance(entry, dict)]
        found = next((e.get("template") for e in named if e.get("name") == "default"), None)
    return ChatTemplate(found, tokens=tokens) if isinstance(found, str) else None
