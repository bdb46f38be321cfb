"""Format, oracle, engine and export agree about what is legal: the engine is held to `shape`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench.sound_packed import TINY, sound

from asnn_goose.export.forms import ExportError
from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.checks import check_tensors
from asnn_goose.format.packed import PackedError, PackedModel, read_packed
from asnn_goose.infer.backend import flat
from asnn_goose.infer.engine import Engine
from asnn_goose.infer.reference import block, layers
from asnn_goose.infer.reference.model import Reference
from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.shape.code_limits import GROUP, MAX_STEPS
from asnn_goose.shape.limits import ByLayer, Fault, Number, Only, Size, Switch, Words
from asnn_goose.shape.mixers import MIXERS
from asnn_goose.shape.mlps import ACTIVATIONS, MLPS
from asnn_goose.shape.rwkv7 import LEAST_KEY, LEAST_SPIKING_KEY
from asnn_goose.shape.settings import checked_settings, fault, settings_of
from asnn_goose.shape.slots import COLUMNS
from asnn_goose.shape.student import layout, state

native: Any = pytest.importorskip("asnn_goose._native")

SETTINGS = settings_of({"mixer": "rwkv7", "mlp": "gated"})


def of(kind: type) -> dict[str, Any]:
    return {n: s.packed for n, s in SETTINGS.items() if isinstance(s.packed, kind)}


def test_the_engine_has_the_limits_of_the_description() -> None:
    found = native.limits()
    assert found["sizes"] == {n: [s.least, s.most, s.multiple] for n, s in of(Size).items()}
    assert found["numbers"] == {n: limit.most for n, limit in of(Number).items()}
    assert set(found["none"]) == {n for n, limit in of(Number).items() if limit.or_none}
    assert found["by_layer"] == {n: limit.most for n, limit in of(ByLayer).items()}
    assert found["words"] == {n: list(limit.words) for n, limit in of(Words).items()}
    assert set(found["switches"]) == of(Switch).keys()
    assert set(found["absent"]) == of(Only).keys()
    assert (found["inner"], found["columns"], found["steps"]) == (COLUMNS, GROUP, MAX_STEPS)
    assert found["least_key"] == pytest.approx([LEAST_KEY, LEAST_SPIKING_KEY])


def test_the_oracle_has_every_part_that_may_be_packed() -> None:
    assert set(layers.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(block.MIXERS) == set(SETTINGS["mixer"].packed.words)  # type: ignore[union-attr]
    assert set(block.MIXERS) < set(MIXERS)
    assert set(block.MLPS) == set(SETTINGS["mlp"].packed.words)  # type: ignore[union-attr]
    assert set(block.MLPS) < set(MLPS)


VALUES: dict[str, list[Any]] = {
    "mixer": ["rwkv7", "rwkv7", "mamba"],
    "mlp": ["gated", "channel_mix", "plain", "mixture"],
    "gate": ["sigmoid", "one_plus", "none", "tanh"],
    "v_first": ["mix", "detached", "none", "add"],
    "norm": ["rms", "layer", "batch"],
    "hidden_act": [*ACTIVATIONS, "mish", "gelu_fast"],
    "head_size": [16, 32, 48, 8, 24, 31, 144],
    "num_attention_heads": [1, 2, 3, 0],
    "intermediate_size": [64, 96, 7],
    "vocab_size": [70, 83],
    "num_hidden_layers": [1, 2, 0],
    "gate_rank": [8, 3, 0],
    "norm_eps": [1e-5, 1e-3, 1, 0, 2.5, "small"],
    "rope_theta": [10000.0, 500, -1.0],
    "qk_norm": [False, True, "head"],
    "qk_norm_over": ["head", "all", "none"],
    "norm_place": ["before", "after", "both", "around"],
    "parallel": [False, True, 0],
    "logit_cap": [0.0, 3, 30.0, -1.0],
    "rope_channels": [0, 2, 16, 7],
    "n_positions": [0, 16, -1],
    "real_vocab_size": [0, 60],
    "qkv_bias": [True, False, 1],
    "mlp_bias": [True, False, "yes"],
    "token_shift": [True, False, None],
    **{n: [True, False] for n in ("rope", "bonus", "group_norm", "removal_key", "embedding_norm")},
    **{n: [True, False] for n in ("key_replacement", "output_bias", "tie_word_embeddings")},
}
"""What settings are drawn from, legal values first."""


def drawn(seed: int) -> dict[str, Any]:
    """A configuration with some settings changed, most of them to something legal."""
    chance = random.Random(seed)
    names = chance.sample(list(VALUES), chance.randint(1, 6))
    config = dict(TINY)
    for name in names:
        legal = [value for value in VALUES[name] if SETTINGS[name].packed.fits(value)]  # type: ignore[union-attr]
        config[name] = chance.choice(legal if chance.random() < 0.5 else VALUES[name])
    return config


def model_of(config: dict[str, Any], seed: int) -> PackedModel:
    """Tensors that the configuration asks for, or those of TINY where it asks for nonsense."""
    try:
        tensors, matrices = sound(config, seed)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        tensors, matrices = sound(TINY, seed)
    return PackedModel(
        folder=Path(), config=config, tensors=tensors, matrices=matrices, crc32="00000000"
    )


def refusal(run: Callable[[], object]) -> str | None:
    try:
        run()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("seed", range(150))
def test_format_engine_and_oracle_take_the_same_configurations(seed: int) -> None:
    config = drawn(seed)
    model = model_of(config, seed)
    found = refusal(lambda: checked_settings(config, file=Path("config.json")))
    engine = refusal(lambda: Engine(model, threads=1))
    oracle = refusal(lambda: Reference(model))
    if found is None:
        assert (engine, oracle) == (None, None)
        check_tensors(Path(), model.tensors, model.matrices, layout(config))
        with np.errstate(all="ignore"):
            logits = [
                Engine(model, threads=1, backend=backend).prefill(
                    Engine(model, threads=1, backend=backend).start(), [0, 69, 3]
                )
                for backend in ("native", "reference")
            ]
        assert logits[0].shape == logits[1].shape == (config["vocab_size"],)
        return
    illegal = [
        name
        for name, known in settings_of(config).items()
        if known.packed and not known.packed.fits(config.get(name, known.default))
    ]
    assert any(str(engine).startswith(name) for name in illegal)
    assert str(oracle).startswith(illegal[0])


def test_enough_of_the_drawn_configurations_are_legal_and_enough_are_not() -> None:
    legal = sum(fault(drawn(seed), packed=True) is None for seed in range(150))
    assert 40 < legal < 120


@pytest.mark.parametrize(
    ("changes", "illegal"),
    [
        ({"num_attention_heads": 1024, "head_size": 128}, "num_attention_heads"),
        ({"hidden_size": (1 << 16) + 64}, "hidden_size"),
        ({"intermediate_size": 1 << 18}, "intermediate_size"),
        ({"num_hidden_layers": 1 << 11}, "num_hidden_layers"),
        ({"gate_rank": 1 << 15}, "gate_rank"),
    ],
)
def test_what_is_too_large_is_refused_by_all(changes: dict[str, Any], illegal: str) -> None:
    config = TINY | changes
    with pytest.raises(PackedError, match=illegal):
        checked_settings(config, file=Path("config.json"))
    with pytest.raises(ValueError, match=illegal):
        native.Engine(flat(config), {}, {})
    with pytest.raises(ValueError, match=illegal):
        Reference(PackedModel(folder=Path(), config=config, tensors={}, matrices={}, crc32=""))


@pytest.mark.parametrize("seed", range(25))
@torch.no_grad()
def test_export_writes_what_the_engine_takes_or_names_the_setting(
    seed: int, tmp_path: Path
) -> None:
    config = drawn(1000 + seed)
    torch.manual_seed(seed)
    try:
        student = GooseForCausalLM(GooseConfig(**config))
    except (ValueError, KeyError, TypeError):
        return  # no student at all
    settings = PackSettings(dense="f32", low_rank="f32", head="f16")
    illegal = fault(student.config.to_dict(), packed=True)
    if illegal is None:
        export_packed(student, tmp_path / "packed", settings=settings)
        packed = read_packed(tmp_path / "packed")
        engine, oracle = Engine(packed, threads=1), Engine(packed, backend="reference")
        scores = [runs.prefill(runs.start(), [0, 69, 3]) for runs in (engine, oracle)]
        np.testing.assert_allclose(*scores, atol=2e-4)
        wanted = student(torch.tensor([[0, 69, 3]])).logits[0, -1].numpy()
        np.testing.assert_allclose(scores[1], wanted, atol=2e-3)
        return
    with pytest.raises(ExportError) as error:
        export_packed(student, tmp_path / "packed", settings=settings)
    assert str(error.value).startswith(str(illegal))
    assert not (tmp_path / "packed").exists()


def test_a_student_of_a_head_size_that_the_engine_lacks_is_refused_by_name(tmp_path: Path) -> None:
    student = GooseForCausalLM(
        GooseConfig(
            vocab_size=32,
            hidden_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            head_size=24,
            intermediate_size=64,
        )
    )
    with pytest.raises(ExportError, match="head_size = 24: must be a multiple of 16 from 16 to 1"):
        export_packed(student, tmp_path / "packed")


def test_a_bias_that_the_configuration_asks_for_must_be_there() -> None:
    config = TINY | {"mlp_bias": True}
    model = model_of(config, 0)
    tensors = {n: a for n, a in model.tensors.items() if n != "blocks.1.mlp.down.bias"}
    assert len(tensors) < len(model.tensors)
    missing = PackedModel(
        folder=Path(), config=config, tensors=tensors, matrices=model.matrices, crc32=""
    )
    with pytest.raises(ValueError, match=r"blocks\.1\.mlp\.down\.bias' is missing"):
        Engine(missing, threads=1)


@pytest.mark.parametrize("mlp", ["gated", "channel_mix"])
def test_a_state_is_as_large_as_the_description_says(mlp: str) -> None:
    config = TINY | {"mlp": mlp}
    model = model_of(config, 0)
    each = sum(math.prod(part.shape) for part in state(config))
    numbers = config["num_hidden_layers"] * each
    assert Engine(model, backend="reference").start().nbytes == 8 + 4 * numbers
    filled_up = Engine(model, threads=1).start().nbytes // 4  # every block to a multiple of 16
    assert numbers <= filled_up < numbers + 16 * config["num_hidden_layers"]


def test_a_fault_says_setting_value_and_remedy() -> None:
    assert str(Fault("gate", "x", "sigmoid or none")) == "gate = 'x': must be sigmoid or none"
