from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from asnn_goose.disk import TakenError
from asnn_goose.export.hub_folder import CARD, MARK, PACKED, export_hub_folder, is_hub_folder
from asnn_goose.export.modelling_code import CODE
from asnn_goose.format.origin import is_made_of
from asnn_goose.format.packed import read_packed
from asnn_goose.model import GooseForCausalLM

Student = Callable[..., GooseForCausalLM]
BARE = Path(__file__).with_name("bare_environment.py")

KINDS: dict[str, dict[str, Any]] = {
    "spiking": {},
    "membranes": {
        "mlp": "gated",
        "norm": "rms",
        "rope": True,
        "precision": {"*": {"planes": 1, "steps": 1, "neuron": "lif"}, "head": {"steps": 1}},
    },
    "learned": {
        "tie_word_embeddings": True,
        "value_shift": True,
        "qk_norm": True,
        "precision": {"*": {"planes": 1, "steps": 2, "ternary": "lsq", "neuron": "learned"}},
    },
}


@pytest.fixture
def shared(
    student: Student, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> Callable[..., Path]:
    """Make a folder to share of a small student, and remember the student by the folder's name."""

    def make(name: str, **changes: Any) -> Path:
        model = student(vocab_size=257, **changes)
        source = tmp_path / f"source-{name}"
        model.save_pretrained(source)
        tokenizer.save_pretrained(source)
        make.models[name] = model  # type: ignore[attr-defined]
        folder = tmp_path / "shared" / name
        export_hub_folder(model, folder, source=source, card=lambda why: f"card: {why}")
        return folder

    make.models = {}  # type: ignore[attr-defined]
    return make


def test_it_loads_where_only_torch_and_transformers_are(
    shared: Callable[..., Path], tmp_path: Path
) -> None:
    for name, changes in KINDS.items():
        shared(name, **changes)
    done = subprocess.run(
        [sys.executable, str(BARE), str(tmp_path / "shared"), str(tmp_path / "found.json")],
        env=os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found[max(KINDS)]["saved again"]
    ids = torch.arange(40)[None]
    for name, model in shared.models.items():  # type: ignore[attr-defined]
        with torch.no_grad():
            want = model(ids).logits[0, ::13]
        got = torch.tensor(found[name]["logits"])
        # The compiled kernel here, plain PyTorch there.
        assert torch.allclose(got, want, atol=2e-4 * float(want.abs().max())), name
        drawn = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)[0, 40:]
        assert found[name]["drawn"] == drawn.tolist(), name
        assert len(found[name]["words"]) == 5, name


def test_the_files_are_the_students_own(shared: Callable[..., Path], tmp_path: Path) -> None:
    folder = shared("spiking")
    ours, theirs = (
        load_file(place / "model.safetensors") for place in (tmp_path / "source-spiking", folder)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {file.name for file in folder.iterdir()} == {
        *("model.safetensors", "config.json", "generation_config.json", CARD, CODE, PACKED),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert (folder / CARD).read_text() == "card: "
    assert read_packed(folder / PACKED).config["hidden_size"] == 128
    # The engine finds it there and packs nothing anew.
    assert is_made_of(folder / PACKED, source=folder)


def test_what_the_engine_cannot_run_travels_without_a_packed_file(
    shared: Callable[..., Path],
) -> None:
    folder = shared("membranes", **KINDS["membranes"])
    assert not (folder / PACKED).exists()
    assert "precision.head" in (folder / CARD).read_text()


def test_only_its_own_kind_is_replaced(shared: Callable[..., Path]) -> None:
    folder = shared("plain", precision={})
    (folder / CARD).write_text("old")
    assert is_hub_folder(shared("plain", precision={}))
    assert (folder / CARD).read_text() == "card: "
    (folder / "notes.txt").touch()
    with pytest.raises(TakenError, match=r"holds 'notes.txt' beside a folder to share"):
        shared("plain", precision={})
    (folder / "notes.txt").unlink()
    (folder / MARK).unlink()
    with pytest.raises(TakenError, match="is no folder to share"):
        shared("plain", precision={})
    assert (folder / CARD).read_text() == "card: "
