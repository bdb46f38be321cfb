"""The one error of a packed model that cannot be used."""

from __future__ import annotations

import reprlib
from pathlib import Path

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


class PackedError(ValueError):
    """A packed model is damaged or foreign; the message says where, what was found, what fits."""


def wrong(file: Path, what: str, found: object, right: str) -> PackedError:
    """The error that in `file`, `what` is `found` where it should be `right`."""
    return PackedError(f"{file}: {what} is {_SHORT.repr(found)}, must be {right}")
