"""The scripts of bench/ are a package once the repository's root can be imported from."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
