"""What a setting may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


def is_size(value: object) -> bool:
    """True for a whole number of at least 0 that is no truth value."""
    # True is an int to Python; a size of true is a mistake.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Limit(Protocol):
    """Which values are allowed."""

    @property
    def kind(self) -> str:
        """Type of the values, as an annotation in builtin names."""

    @property
    def right(self) -> str:
        """What would be right, in words."""

    def fits(self, value: object) -> bool:
        """Whether a value is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A whole number from `least` to `most`, or without an upper bound, in steps of `multiple`."""

    least: int = 1
    most: int | None = None
    multiple: int = 1
    kind: ClassVar[str] = "int"

    @property
    def right(self) -> str:
        kind = "a whole number" if self.multiple == 1 else f"a multiple of {self.multiple}"
        if self.most is None:
            return f"{kind} of at least {self.least}"
        return f"{kind} from {self.least} to {self.most}"

    def fits(self, value: object) -> bool:
        if not isinstance(value, int) or not is_size(value) or value % self.multiple:
            return False
        return self.least <= value and (self.most is None or value <= self.most)


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    kind: ClassVar[str] = "bool"
    right: str = "true or false"

    def fits(self, value: object) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number above 0, up to `most`; or 0 too, for none."""

    most: float
    or_none: bool = False
    kind: ClassVar[str] = "float"

    @property
    def right(self) -> str:
        return f"{'0, or ' if self.or_none else ''}above 0, up to {self.most:g}"

    def fits(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return 0 < value <= self.most or (self.or_none and value == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLayer:
    """Null, or a number from 0 to `most` for every layer; how many layers is checked elsewhere."""

    most: float
    kind: ClassVar[str] = "list[float] | None"

    @property
    def right(self) -> str:
        return f"null, or for every layer a number from 0 to {self.most:g}"

    def fits(self, value: object) -> bool:
        if value is None:
            return True
        one = Number(most=self.most, or_none=True)
        return isinstance(value, list | tuple) and bool(value) and all(map(one.fits, value))


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of what there is: from 0, below 1."""

    kind: ClassVar[str] = "float"
    right: str = "at least 0 and below 1"

    def fits(self, value: object) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and 0 <= value < 1  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Words:
    """One of a few words."""

    words: tuple[str, ...]
    kind: ClassVar[str] = "str"

    @property
    def right(self) -> str:
        return " or ".join(self.words)

    def fits(self, value: object) -> bool:
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True, slots=True)
class Name:
    """Any name: who knows the names refuses the others."""

    kind: ClassVar[str] = "str"
    right: str = "a name"

    def fits(self, value: object) -> bool:
        return isinstance(value, str) and value.isidentifier()


@dataclass(frozen=True, slots=True)
class Only:
    """The one value that switches a part off."""

    value: Any

    @property
    def kind(self) -> str:
        return type(self.value).__name__

    @property
    def right(self) -> str:
        return repr(self.value).lower()

    def fits(self, value: object) -> bool:
        return type(value) is type(self.value) and value == self.value


@dataclass(frozen=True, slots=True)
class Tokens:
    """One or more token ids, or none."""

    kind: ClassVar[str] = "int | list[int] | None"
    right: str = "null, or one or more ids"

    def fits(self, value: object) -> bool:
        return value is None or all(map(is_size, token_ids(value)))


@dataclass(frozen=True, slots=True)
class Free:
    """Anything: whoever uses it checks it; `kind` is what it should be."""

    kind: str
    right: str = "anything"

    def fits(self, value: object) -> bool:
        return True


def token_ids(value: object) -> list[object]:
    """A setting of one or several ids as a list; an empty list counts as one value."""
    # An empty list would pass as "all of them fit".
    return value if isinstance(value, list) and value else [value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a student.

    default  what it is where nobody says otherwise
    student  what a student in PyTorch may have
    packed   what the engine, and so a packed file, may have; None: a packed file does not say it
    later    whether files from before it do not say it, and have the default
    """

    default: Any
    student: Limit
    packed: Limit | None
    later: bool = False


def setting(
    default: Any, limit: Limit, *, packed: Limit | None = None, later: bool = False
) -> Setting:
    """A setting that every student may have; `packed` where the engine takes less of it."""
    return Setting(default=default, student=limit, packed=packed or limit, later=later)


@dataclass(frozen=True, slots=True)
class Fault:
    """A setting, the value found, and what would be right."""

    setting: str
    found: object
    right: str

    def __str__(self) -> str:
        return f"{self.setting} = {self.found!r}: must be {self.right}"
