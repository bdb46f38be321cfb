"""A sandbox for templates of strangers, with a limit of time and one of size.

Jinja's own sandbox keeps a template from reaching anything; it does not keep it from running for
ever, or from asking for all memory. Every loop and macro is made to count here, and whatever
multiplies text is asked first how much that would be.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import TemplateError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

SECONDS = 5.0
"""As long as one conversation may take; a common template takes milliseconds."""

MOST_CHARACTERS = 10_000_000
"""Of all that a template writes, and of each value on the way."""

MOST_WORK = 100 * MOST_CHARACTERS
"""Product of the sizes of what one call is given: characters, items, and the numbers themselves."""

MOST_BITS = 10_000
"""Of a whole number."""

CLOCK, JOINED = "0clock", "0joined"
"""Names that no template can use."""

_WIDE = re.compile(r"\d{7}")


class LimitError(TemplateError):
    """A template takes too long, or makes too much."""


class Clock:
    """Counts for one conversation. Raises LimitError at the end of time or of room."""

    def __init__(self) -> None:
        self._ends, self._left = time.monotonic() + SECONDS, MOST_CHARACTERS

    def __call__(self, characters: int) -> str:
        """Nothing to write, after so many characters have been."""
        self._left -= characters
        if time.monotonic() > self._ends:
            raise LimitError(f"it takes longer than {SECONDS:g} seconds")
        if self._left < 0:
            raise LimitError(f"it writes more than {MOST_CHARACTERS:,} characters")
        return ""


def size(value: Any) -> int:
    """Characters, items with theirs, or the number itself: what a product of it may grow to."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, list | tuple):
        return len(value) + sum(len(item) for item in value if isinstance(item, str))
    return abs(value) if isinstance(value, int) else 1


def check_work(values: Iterable[Any]) -> None:
    """Refuse a call whose result could be out of proportion."""
    work = 1
    for value in values:
        work *= max(size(value), 1)
        if work > MOST_WORK:
            raise LimitError("one of its steps makes too much of what it is given")


def checked(value: Any) -> Any:
    """A value that is not too large."""
    if isinstance(value, int):
        if value.bit_length() > MOST_BITS:
            raise LimitError(f"it makes a number of more than {MOST_BITS:,} bits")
    elif isinstance(value, str | bytes | list | tuple) and size(value) > MOST_CHARACTERS:
        raise LimitError(f"it makes a value of more than {MOST_CHARACTERS:,} characters")
    return value


def check_form(form: Any) -> None:
    """Refuse a format such as `%9999999d`."""
    if isinstance(form, str) and _WIDE.search(form):
        raise LimitError("one of its formats is too wide")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which `clocked` templates end. Render with CLOCK set to a Clock."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, finalize=_counted)
        self.globals[JOINED] = _joined
        self.globals.pop("lipsum")

    def bound_filters(self) -> None:
        """Have what filters are given and give looked at; for when all of them are there."""
        self.filters.update({name: _bounded(filter) for name, filter in self.filters.items()})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counting().visit(super()._parse(source, name, filename))
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator whose result may be much larger than its operands."""
        if operator == "**" and size(left) > 1 and size(right) > MOST_BITS:
            raise LimitError(f"it makes a number of more than {MOST_BITS:,} bits")
        if operator == "%":
            check_form(left)
        elif isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple):
            check_work((left, right) if operator == "*" else ())
        return checked(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A function, or a method of a value."""
        # Jinja's sandbox wraps `format`, and what is wrapped knows its string.
        of = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if getattr(obj, "__name__", "") in {"format", "format_map"}:
            check_form(of)
        if isinstance(of, str | bytes | list | tuple):
            check_work((of, *args, *kwargs.values()))
        return checked(super().call(context, obj, *args, **kwargs))


@pass_context
def _counted(context: Context, value: Any) -> Any:
    """What is written counts, also into a variable or out of a macro."""
    clock = context.get(CLOCK)
    if clock is not None:  # None while a template is compiled and its constants are folded
        clock(size(value) if isinstance(value, str) else 0)
    return value


def _joined(*parts: Any) -> str:
    """What `~` does."""
    return str(checked("".join(map(str, parts))))


def _bounded(filter: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter)  # Jinja keeps on a function what it wants to be given beside values
    def bounded(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        if getattr(filter, "__name__", "") == "do_format":
            check_form(args[0])
        check_work(value for value in given if isinstance(value, str | list | tuple | int))
        return checked(filter(*args, **kwargs))

    return bounded


class _Counting(NodeTransformer):
    """Puts a look at the clock into every loop and macro, and a check into every `~`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.test is not None:  # of items that are left out the body sees nothing
            node.test = nodes.Or(_tick(0, line=node.lineno), node.test, lineno=node.lineno)
        return self._ticking(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._ticking(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._ticking(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call(JOINED, list(node.nodes), line=node.lineno)

    def _ticking(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        written = sum(len(text.data) for text in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_tick(written, line=node.lineno)], lineno=node.lineno))
        return node


def _tick(written: int, *, line: int) -> nodes.Call:
    return _call(CLOCK, [nodes.Const(written)], line=line)


def _call(name: str, args: list[nodes.Expr], *, line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), args, [], None, None, lineno=line)
