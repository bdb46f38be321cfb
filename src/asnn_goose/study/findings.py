"""What a study came to, for a JSON file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from asnn_goose import disk


class Findings(ABC):
    """Everything that came out."""

    __slots__ = ()

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Plain values, None for what is not a finite number."""

    def write(self, file: Path) -> None:
        """As JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        disk.write_text(file, json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")
