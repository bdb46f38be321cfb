from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asnn_goose.export.forms import ExportError
from asnn_goose.export.hub_folder import CARD, PACKED
from asnn_goose.export.modelling_code import CODE, ENTRY
from asnn_goose.export.push import push

from .hub_stand_in import HubStandIn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What an exported folder has, as far as an upload looks at it."""
    found = tmp_path / "flock"
    for name, text in {
        CARD: "# a card",
        "config.json": "{}",
        f"{CODE}/{ENTRY}.py": "x = 1",
        "model.safetensors": "weights " * 5000,
        f"{PACKED}/packed.safetensors": "planes " * 5000,
        ".cache/left": "over",
    }.items():
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(text)
    return found


@pytest.fixture(autouse=True)
def _who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_test")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with HubStandIn() as found:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.endpoint)
        yield found


def test_every_file_arrives(folder: Path, hub: HubStandIn) -> None:
    address = push(folder, "goose/flock", private=True)
    assert address.startswith(f"{hub.endpoint}/goose/flock/commit/")
    ours = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".cache" not in file.parts
    }
    assert hub.files == ours
    assert len(hub.commits) == 1
    (made,) = hub.made
    assert made["name"] == "flock"
    assert made.get("private") or made.get("visibility") == "private"
    assert hub.tokens == {"Bearer hf_test"}


def test_what_the_hub_refuses_is_said(folder: Path, hub: HubStandIn) -> None:
    hub.refuses = 403
    with pytest.raises(ExportError, match=r"goose/flock: (.|\n)*403(.|\n)*hf auth login"):
        push(folder, "goose/flock", private=False)
    with pytest.raises(ExportError, match="a/b/c"):
        push(folder, "a/b/c", private=False)


def test_another_folder_is_not_uploaded(folder: Path) -> None:
    (folder / CARD).unlink()
    with pytest.raises(ExportError, match="is no folder to share"):
        push(folder, "goose/flock", private=False)
