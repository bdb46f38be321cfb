"""The files of templates/: a name that they use and that is not there is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str, *, escaped: bool, **filters: Callable[..., Any]) -> Template:
    """A file of templates/ that may use these filters; `escaped` for HTML."""
    environment = Environment(
        loader=PackageLoader("asnn_goose.report"),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not escaped,
    )
    environment.filters.update(filters)
    return environment.get_template(name)
