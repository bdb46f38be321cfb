"""Odd rotary settings: the logits of Transformers, or an error that names the setting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from asnn_goose.model import Teacher, load_teacher
from asnn_goose.model.families import TeacherError
from asnn_goose.model.rotations import rotations
from asnn_goose.ops.rotary import rotate

LINEAR: dict[str, Any] = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
YARN: dict[str, Any] = LINEAR | {"rope_type": "yarn", "original_max_position_embeddings": 16}
LLAMA3: dict[str, Any] = YARN | {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
LONG: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
    "original_max_position_embeddings": 16,
}
PLAIN: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4}

RIGHT: list[Any] = [
    {"rope_theta": 1e4},
    {"rope_type": "linear", "factor": 2.0},
    {"type": "linear", "factor": 2},
    PLAIN | {"rope_theta": 1.0},
    PLAIN | {"partial_rotary_factor": 0.5},
    PLAIN | {"factor": 8.0, "finetuned": True},
    YARN | {"factor": 0.5},
    YARN | {"attention_factor": 0.7, "beta_fast": 16, "beta_slow": 2, "truncate": False},
    {key: value for key, value in YARN.items() if key != "original_max_position_embeddings"},
    LONG | {"factor": 4.0},
    LLAMA3 | {"high_freq_factor": 1.0},
    {},
    None,
]
WRONG: list[tuple[Any, str]] = [
    (PLAIN | {"rope_type": "round"}, "round"),
    (PLAIN | {"rope_type": ["linear"]}, r"rope_type = \['linear'\]: must be a word"),
    (PLAIN | {"rope_theta": 0}, r"rope_theta = 0: must be a number above 0"),
    (PLAIN | {"rope_theta": -1e4}, r"rope_theta = -10000.0: must be a number above 0"),
    (PLAIN | {"rope_theta": float("nan")}, r"rope_theta = nan: must be a number above 0"),
    (PLAIN | {"rope_theta": float("inf")}, r"rope_theta = inf: must"),
    (PLAIN | {"rope_theta": "10000"}, r"rope_theta = '10000': must"),
    (PLAIN | {"rope_theta": None}, r"rope_theta = None: must"),
    (PLAIN | {"rope_theta": [1e4]}, r"rope_theta = \[10000.0\]: must be a number above 0"),
    (LINEAR | {"factor": 0}, r"rope_parameters.factor = 0: must be a number above 0"),
    (LINEAR | {"factor": -2.0}, r"factor = -2.0: must"),
    (LINEAR | {"factor": float("nan")}, r"factor = nan: must"),
    (LINEAR | {"factor": "2"}, r"factor = '2': must"),
    (LINEAR | {"factor": True}, r"factor = True: must"),
    (LINEAR | {"factor": [2.0, 2.0]}, r"factor = \[2.0, 2.0\]: must be a number above 0"),
    (LINEAR | {"factor": None}, r"factor = None: must"),
    (LINEAR | {"partial_rotary_factor": 0.5}, r"partial_rotary_factor = 0.5, 8 channels"),
    (PLAIN | {"partial_rotary_factor": 1.5}, r"must be a number above 0 and at most 1"),
    (LINEAR | {"rope_type": "dynamic", "factor": -3.0}, r"factor = -3.0: must"),
    ({"rope_type": "linear", "rope_theta": 1e4}, r"factor"),
    (YARN | {"original_max_position_embeddings": 0}, r"original_max_position_embeddings = 0"),
    (YARN | {"original_max_position_embeddings": "x"}, r"original_max_position_embeddings = 'x'"),
    (YARN | {"attention_factor": float("nan")}, r"attention_factor = nan: must be a number$"),
    ({key: value for key, value in LLAMA3.items() if key != "low_freq_factor"}, "low_freq_factor"),
    (LLAMA3 | {"low_freq_factor": -1.0}, r"low_freq_factor = -1.0: must"),
    (
        LONG | {"short_factor": [1.0, 0.0]},
        r"short_factor = \[1.0, 0.0\]: must be a list of numbers above 0",
    ),
    (LONG | {"long_factor": "long"}, r"long_factor = 'long'"),
    (LONG | {"short_factor": [1.0, 1.0]}, r"short_factor has 2 numbers: must have 8"),
    ({key: value for key, value in LONG.items() if key != "long_factor"}, "long_factor"),
    ([], r"rope_parameters = \[\]: must be a table"),
    ("linear", r"rope_parameters = 'linear': must be a table"),
    (LONG | {"original_max_position_embeddings": None}, r"original_max_position_embeddings = None"),
    ({"full_attention": PLAIN | {"rope_theta": 0.0}}, r"full_attention.rope_theta = 0.0"),
]


@pytest.fixture(scope="module")
def plain(
    of_family: Callable[..., Teacher],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    of_family("llama", max_position_embeddings=32).model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Callable[[Any], Path]:
    """The tiny teacher with other rotary settings in its config.json."""

    def make(settings: Any) -> Path:
        for file in plain.iterdir():
            (tmp_path / file.name).symlink_to(file)
        stated = json.loads((plain / "config.json").read_text())
        (tmp_path / "config.json").unlink()
        (tmp_path / "config.json").write_text(json.dumps(stated | {"rope_parameters": settings}))
        return tmp_path

    return make


@pytest.mark.parametrize("settings", RIGHT, ids=str)
@torch.no_grad()
def test_what_can_be_followed_is_what_transformers_makes_of_it(
    settings: Any, folder: Callable[[Any], Path], tokens_BT: Tensor
) -> None:
    place = folder(settings)
    theirs = AutoModelForCausalLM.from_pretrained(place).eval()
    found = load_teacher(str(place)).trace(tokens_BT, frozenset({"vocab"}))
    wanted = theirs(tokens_BT).logits.flatten(0, 1)
    assert torch.isfinite(wanted).all()
    assert (found.vocab(slice(None)) - wanted).abs().max() < 1e-4


@pytest.mark.parametrize(("settings", "named"), WRONG, ids=str)
def test_what_cannot_be_followed_is_named(
    settings: Any, named: str, folder: Callable[[Any], Path]
) -> None:
    with pytest.raises(TeacherError, match=named):
        load_teacher(str(folder(settings)))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"rope_parameters": PLAIN | {"partial_rotary_factor": 0.5}}),
        ("phi3", {}),
        ("gpt_neox", {}),
        ("gemma3_text", {}),
        ("falcon", {}),
    ],
)
@torch.no_grad()
def test_queries_are_turned_as_the_teacher_turns_them(
    family: str, changes: dict[str, Any], of_family: Callable[..., Teacher]
) -> None:
    """A teacher's own cosines and sines, which most families make for whole heads."""
    model = of_family(family, **changes).model
    found, size = rotations(model, name="tiny"), head_of(model)
    x_1TN = torch.randn(1, 9, size, generator=torch.Generator().manual_seed(0))
    places_1T = torch.arange(9)[None]
    for layer, rotation in enumerate(found):
        kinds = getattr(model.config, "layer_types", None)
        named = [kinds[layer]] if kinds and family == "gemma3_text" else []
        cos, sin = model.base_model.rotary_emb(x_1TN, places_1T, *named)
        turned, rest = x_1TN.split([cos.shape[-1], size - cos.shape[-1]], -1)
        halves = torch.cat(
            [-turned[..., cos.shape[-1] // 2 :], turned[..., : cos.shape[-1] // 2]], -1
        )
        wanted = torch.cat([turned * cos + halves * sin, rest], -1)
        ours = rotate(
            x_1TN[:, :, None], places_1T, theta=rotation.theta, channels=rotation.channels
        )
        assert torch.allclose(ours[:, :, 0], wanted, atol=1e-5)


def head_of(model: Any) -> int:
    config = model.config
    return int(getattr(config, "head_dim", 0) or config.hidden_size // config.num_attention_heads)


def test_channels_that_are_no_pairs_are_refused(of_family: Callable[..., Teacher]) -> None:
    odd = PLAIN | {"partial_rotary_factor": 5 / 16}
    with pytest.raises(TeacherError, match=r"partial_rotary_factor = 0\.3125 of 16 channels"):
        rotations(of_family("phi3", rope_parameters=odd).model, name="tiny")
