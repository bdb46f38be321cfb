"""The compiled engine against the numpy oracle, on every kind of student, and its own promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from asnn_goose.export.packed import PackSettings, export_packed
from asnn_goose.format.packed import read_packed
from asnn_goose.infer.engine import Engine

native: Any = pytest.importorskip("asnn_goose._native")

Make = Callable[..., Any]

TERNARY = {"planes": 1, "steps": 1, "threshold": 1.3, "rotate": True}
PRECISIONS: dict[str, dict[str, dict[str, Any]]] = {
    "dense": {},
    "ternary, one step": {"*": TERNARY},
    "two planes, three steps": {"*": TERNARY | {"planes": 2, "steps": 3, "threshold": 4.0}},
    "groups, radix2": {"*": TERNARY | {"group": 64, "steps": 4, "code": "radix2", "threshold": 3}},
    "rate": {"*": TERNARY | {"steps": 3, "code": "rate", "threshold": 2.0, "rotate": False}},
    "ternary, analogue inputs": {"*": {"planes": 2, "rotate": True}},
    "ternary groups, analogue inputs": {"*": {"planes": 1, "group": 64}},
    "spikes on dense weights": {"*": {"steps": 3, "threshold": 4.0}},
    "sites on key and value": {"k": {"steps": 2, "threshold": 3.0}, "v": {"steps": 1}},
    "sites beside spiking matrices": {"*": TERNARY, "1.k": {"steps": 3, "code": "rate"}},
    "one input coded in three ways": {
        "*": TERNARY | {"steps": 3, "threshold": 4.0},
        "up": {"threshold": 2.5},
        "0.up": {"rotate": False},
    },
    "by layer and name": {"1.*": TERNARY, "down": {"steps": 2, "threshold": 3.0}},
}
SWITCHES: list[dict[str, Any]] = [
    {},
    {"mlp": "gated", "norm": "rms", "embedding_norm": False, "tie_word_embeddings": True},
    {"token_shift": False, "rope": True, "bonus": False},
    {"token_shift": False, "value_shift": True, "qkv_bias": True},
    {"gate": "one_plus", "v_first": "detached", "group_norm": False},
    {"gate": "none", "v_first": "none", "removal_key": False, "key_replacement": False},
    {"mlp": "gated", "hidden_act": "gelu", "mlp_bias": True, "qkv_bias": True, "output_bias": True},
    {"mlp": "gated", "hidden_act": "gelu_new"},
    {"mlp": "gated", "hidden_act": "relu", "head_size": 32, "num_attention_heads": 2},
    {"mlp": "plain", "hidden_act": "gelu_new", "mlp_bias": True, "n_positions": 64},
    {"qk_norm": True, "rope": True, "rope_channels": 8, "norm_eps": 1e-3},
    {"qk_norm": True, "qk_norm_over": "all", "rope": True, "rope_thetas": [0.0, 300.0]},
    {"norm_place": "after", "norm": "rms", "mlp": "gated"},
    {"norm_place": "both", "logit_cap": 0.5},
    {"parallel": True, "mlp": "plain", "norm_place": "both"},
    {"parallel": True, "token_shift": True, "norm": "rms"},
]


def scores(engine: Engine, ids: np.ndarray) -> np.ndarray:
    return np.concatenate(list(engine.score(engine.start(), ids)))


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: ",".join(s) or "published")
def test_every_switch_agrees_with_the_oracle(
    model: Make, ids: np.ndarray, switches: dict[str, Any]
) -> None:
    packed = model(**switches)
    wanted = scores(Engine(packed, backend="reference"), ids)
    np.testing.assert_allclose(scores(Engine(packed, threads=1), ids), wanted, atol=2e-4)


def test_a_context_longer_than_its_learned_positions_is_refused(
    model: Make, ids: np.ndarray
) -> None:
    packed = model(mlp="plain", n_positions=16)
    for backend in ("native", "reference"):
        engine = Engine(packed, backend=backend, threads=1)
        state = engine.start()
        engine.prefill(state, ids[:16])
        with pytest.raises(ValueError, match=r"context of 17 tokens.*n_positions = 16, and can"):
            engine.step([state], [3])


def test_logits_that_are_bounded_are_all_exact(model: Make, ids: np.ndarray) -> None:
    engine = Engine(model(mlp="gated", logit_cap=2.0, embedding_norm=False), threads=1)
    exact = engine.prefill(engine.start(), ids)
    np.testing.assert_array_equal(engine.prefill(engine.start(), ids, missed=0.5), exact)


@pytest.mark.parametrize("isa", native.isas())
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
def test_every_precision_agrees_with_the_oracle(
    model: Make,
    ids: np.ndarray,
    precision: dict[str, Any],
    isa: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rounding apart may move a spike, so all but a few logits must agree closely."""
    monkeypatch.setenv("ASNN_GOOSE_ISA", isa)
    packed = model(precision=precision, mlp="gated")
    wanted = scores(Engine(packed, backend="reference"), ids)
    apart = np.abs(scores(Engine(packed, threads=1), ids) - wanted)
    assert np.quantile(apart, 0.9) < 1e-3
    assert apart.max() < 0.5


SITE = {"steps": 3, "threshold": 4.0}
PLAIN = {"planes": 0, "steps": 0, "rotate": False}
FIXED: dict[str, dict[str, dict[str, Any]]] = {
    "one step": {"*": TERNARY, "output": PLAIN, "k": {"steps": 1}, "v": {"steps": 1}},
    "steps": {
        "*": TERNARY | {"planes": 2, "group": 64, "steps": 3},
        "output": PLAIN,
        "k": SITE,
        "0.v": SITE,
    },
    "dense weights": {"*": {"steps": 3, "threshold": 4.0}},
}


@pytest.mark.parametrize("isa", native.isas())
@pytest.mark.parametrize("precision", FIXED.values(), ids=FIXED)
def test_fixed_amplitudes_agree_with_the_oracle(
    student: Make,
    packed: Make,
    with_amplitudes: Make,
    ids: np.ndarray,
    precision: dict[str, Any],
    isa: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_ISA", isa)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 5, "rope": True}  # 80 channels
    model = packed(with_amplitudes(student(precision=precision, mlp="gated", **shape)))
    wanted = scores(Engine(model, backend="reference"), ids)
    apart = np.abs(scores(Engine(model, threads=1), ids) - wanted)
    assert np.quantile(apart, 0.9) < 1e-3
    assert apart.max() < 0.5


def test_a_bias_of_the_ternary_method_reaches_the_engine(model: Make, ids: np.ndarray) -> None:
    precision = {"*": TERNARY | {"ternary": {"name": "tequila", "strength": 0.1}}}
    with_bias = model(precision=precision)
    assert "blocks.1.mlp.key.bias" in with_bias.tensors
    wanted = scores(Engine(with_bias, backend="reference"), ids)
    apart = np.abs(scores(Engine(with_bias, threads=1), ids) - wanted)
    assert np.quantile(apart, 0.9) < 1e-3
    zeros = {
        f"blocks.{layer}.mlp.{name}.bias": np.zeros(rows, np.float32)
        for layer in (0, 1)
        for name, rows in (("key", 128), ("value", 64))
    }
    without = replace(with_bias, tensors=with_bias.tensors | zeros)
    assert np.abs(scores(Engine(without, threads=1), ids) - wanted).max() > 0.05


@pytest.mark.parametrize("form", ["f16", "int8"])
def test_stored_forms_agree_with_the_oracle(
    student: Make, ids: np.ndarray, form: str, tmp_path: Any
) -> None:
    settings = PackSettings(dense=form, low_rank=form, head=form)
    export_packed(student(num_hidden_layers=2), tmp_path / "packed", settings=settings)
    packed = read_packed(tmp_path / "packed")
    wanted = scores(Engine(packed, backend="reference"), ids)
    np.testing.assert_allclose(scores(Engine(packed, threads=1), ids), wanted, atol=5e-3)


def test_wrong_calls_are_errors_and_leave_the_state_alone(model: Make) -> None:
    engine = Engine(model(), threads=1)
    backend, state = engine._backend, engine.start()
    before = state.to_bytes()
    for tokens in ([97], [-1], []):
        with pytest.raises(ValueError, match=r"vocabulary|no tokens"):
            backend.forward([state], [np.array(tokens, np.int32)], every=False)
    with pytest.raises(ValueError, match="twice"):
        backend.forward([state, state], [np.zeros(1, np.int32)] * 2, every=False)
    other = Engine(model(head_size=32, num_attention_heads=2), threads=1)
    with pytest.raises(ValueError, match="another model"):
        other._backend.forward([state], [np.zeros(1, np.int32)], every=False)
    assert state.to_bytes() == before


def test_a_tensor_that_does_not_fit_is_named(model: Make) -> None:
    packed = model()
    missing = {k: v for k, v in packed.tensors.items() if k != "blocks.1.mixer.key.weight"}
    with pytest.raises(ValueError, match=r"blocks\.1\.mixer\.key\.weight.*missing"):
        Engine(replace(packed, tensors=missing))
    wrong = packed.tensors | {"final_norm.weight": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=r"final_norm\.weight.*F32 \[3\].*F32 \[64\]"):
        Engine(replace(packed, tensors=wrong))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rotate": True}, "site 'blocks.0.mixer.k' rotates: only the input of a matrix can"),
        ({"steps": 5}, "matrix 'blocks.0.mixer.k' has 5 steps of code radix3: 0 to 4 are possible"),
        ({"code": "morse"}, "'blocks.0.mixer.k' has code 'morse': choose one of rate"),
    ],
)
def test_a_wrong_site_is_named(model: Make, changes: dict[str, Any], words: str) -> None:
    packed = model(precision={"k": SITE}, head_size=64, num_attention_heads=1)
    table = packed.matrices | {"blocks.0.mixer.k": packed.matrices["blocks.0.mixer.k"] | changes}
    with pytest.raises(ValueError, match=words):
        Engine(replace(packed, matrices=table))


def test_an_amplitude_of_nothing_is_named(model: Make) -> None:
    packed = model(precision={"k": SITE})
    zero = {"blocks.0.mixer.k.amplitude": np.zeros(1, np.float32)}
    with pytest.raises(ValueError, match=r"'blocks.0.mixer.k.amplitude' must be above 0"):
        Engine(replace(packed, tensors=packed.tensors | zero))


def test_spikes_are_counted(model: Make, ids: np.ndarray) -> None:
    packed = model(precision={"*": TERNARY, "v": SITE})
    oracle, engine = Engine(packed, backend="reference"), Engine(packed, threads=1)
    scores(oracle, ids), scores(engine, ids)
    wanted, found = oracle.counts(), engine.counts()
    assert set(found) == set(wanted)
    assert {name: total for name, (_, total) in found.items()} == {
        name: total for name, (_, total) in wanted.items()
    }
    active = np.array([[found[n][0], wanted[n][0]] for n in wanted])
    np.testing.assert_allclose(active[:, 0], active[:, 1], rtol=0.02, atol=3)
    engine.reset_counts()
    assert all(active == 0 for active, _ in engine.counts().values())


def test_logits_that_are_held_are_not_overwritten(model: Make, ids: np.ndarray) -> None:
    engine = Engine(model(), threads=1)
    held = engine.step([engine.start()], [3])
    copy, row = held.copy(), engine.step([engine.start()], [4])[0]
    row_copy = row.copy()
    engine.step([engine.start()], [5])
    np.testing.assert_array_equal(held, copy)
    np.testing.assert_array_equal(row, row_copy)


@pytest.mark.parametrize("spiking", [True, False])
def test_the_length_of_a_removal_key_counts_as_at_least_what_it_does_in_training(
    student: Make, packed: Make, with_amplitudes: Make, ids: np.ndarray, spiking: bool
) -> None:
    """Keys so short that the least length decides: 1e-6 where they spike, 1e-12 where not."""
    shape = {"num_hidden_layers": 1, "token_shift": False, "key_replacement": False}
    model = student(precision={"k": SITE} if spiking else {}, **shape)
    with torch.no_grad():
        model.blocks[0].mixer.removal.fill_(1e-8)
        wanted = model(input_ids=torch.tensor(ids)[None]).logits[0].numpy()
        model.blocks[0].mixer.removal.fill_(1e-3)
        longer = model(input_ids=torch.tensor(ids)[None]).logits[0].numpy()
        model.blocks[0].mixer.removal.fill_(1e-8)
    short = packed(model)
    assert (np.abs(longer - wanted).max() > 1e-2) == spiking
    for backend in ("native", "reference"):
        found = scores(Engine(short, threads=1, backend=backend), ids)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
