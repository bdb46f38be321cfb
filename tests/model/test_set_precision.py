from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model import GooseForCausalLM
from asnn_goose.model.assistant import continued
from asnn_goose.model.parts.groups import parameter_group, trainable

Fresh = Callable[..., GooseForCausalLM]
TABLE: dict[str, dict[str, Any]] = {
    "*": {"planes": 1},
    "key": {"rotate": True, "steps": 3, "threshold": 4.0},
    "v": {"steps": 1},
}
ROTATED = {name: {"rotate": True} for name in ("receptance", "key", "value", "output")}


@torch.no_grad()
def test_a_change_equals_a_student_made_that_way(fresh: Fresh, tokens_BT: Tensor) -> None:
    changed = fresh(mlp="gated")
    dense = changed(tokens_BT).logits
    changed.set_precision(TABLE)
    made = fresh(mlp="gated", precision=TABLE)
    for block in made.blocks:
        block.mixer.key.into_basis_()
    assert torch.equal(changed(tokens_BT).logits, made(tokens_BT).logits)
    assert not torch.allclose(changed(tokens_BT).logits, dense)


@torch.no_grad()
def test_turning_back_gives_the_dense_student(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = fresh(mlp="gated")
    dense = student(tokens_BT).logits
    for table in (ROTATED, TABLE, {}):
        student.set_precision(table)
    torch.testing.assert_close(student(tokens_BT).logits, dense, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_rotation_alone_says_the_same(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = fresh(mlp="gated")
    dense = student(tokens_BT).logits
    student.set_precision(ROTATED)
    assert not torch.equal(student.blocks[0].mixer.key.weight, fresh().blocks[0].mixer.key.weight)
    torch.testing.assert_close(student(tokens_BT).logits, dense, atol=1e-4, rtol=1e-4)


def test_a_table_that_does_not_fit_changes_nothing(fresh: Fresh) -> None:
    student = fresh(mlp="gated")
    with pytest.raises(ValueError, match=r"3.down: the last of 3 layers is 2"):
        student.set_precision({"3.down": {"planes": 1}})
    assert student.config.precision == {}


def test_products_replace_additions_while_training(fresh: Fresh, tokens_BT: Tensor) -> None:
    """The fast form that gradients go through says what the exact one says."""
    student = fresh(mlp="gated", precision=ROTATED)
    with torch.no_grad():
        exact = student(tokens_BT).logits
    torch.testing.assert_close(student(tokens_BT).logits, exact, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_spikes_on_key_and_value(fresh: Fresh, tokens_BT: Tensor) -> None:
    student = fresh(mlp="gated", precision={"v": {"steps": 1}, "1.k": {"steps": 1}})
    trace = student.trace(tokens_BT, frozenset({"keys", "values"}))
    first = trace.signals["values"][0].flatten(-2)  # later blocks mix the first one's values in
    assert all(len(token.abs().unique()) <= 2 for token in first.flatten(0, 1))
    keys = trace.signals["keys"][1].flatten(-2).flatten(0, 1)
    assert all(len(token.abs().unique()) <= 2 for token in keys)
    assert len(trace.signals["keys"][0][0, 0].abs().unique()) > 2


def test_a_signal_has_no_planes(fresh: Fresh) -> None:
    with pytest.raises(ValueError, match=r"precision.k: a signal has spikes, no planes"):
        fresh(precision={"k": {"planes": 1}})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"up": {"ternary": "absmeen", "planes": 1}}, "ternary = 'absmeen'.*'absmean'"),
        ({"up": {"neuron": {"name": "mean", "leek": 1}}}, "neuron.leek: mean has no such setting"),
        ({"up": {"neuron": {"leak": 1}}}, "neuron = .*needs a name"),
        ({"up": {"neuron": 3}}, "neuron = 3: must be a word"),
    ],
)
def test_methods_are_checked(fresh: Fresh, table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fresh(mlp="gated", precision=table)


def test_what_a_method_learns_is_a_group_of_its_own(fresh: Fresh) -> None:
    table = {"*": {"planes": 1, "ternary": "terdit"}}
    student = fresh(mlp="gated", precision=table)
    groups = {parameter_group(name) for name in trainable(student, "body")}
    assert groups == {"matrix", "vector", "norm", "quantiser"}
    assert not any(n.startswith(("embedding.", "lm_head")) for n in trainable(student, "body"))
    assert all(n.startswith("blocks.") for n in trainable(student, "blocks"))


def test_going_on_changes_only_the_precision(fresh: Fresh) -> None:
    student = fresh(mlp="gated")
    assert continued(student, precision=TABLE, hidden_size=64).config.precision == TABLE
    with pytest.raises(ValueError, match="gate = 'none': the student to start from has 'sigmoid'"):
        continued(student, gate="none")


def test_a_head_without_a_key_spike_has_a_bounded_gradient(fresh: Fresh) -> None:
    mixer = fresh(mlp="gated", precision={"k": {"steps": 1}}).blocks[1].mixer
    k_BTHN = torch.zeros(1, 2, mixer.heads, mixer.head_size, requires_grad=True)
    mixer._delta_keys(k_BTHN, k_BTHN.detach()).kappa.sum().backward()
    assert k_BTHN.grad is not None
    assert 0 < k_BTHN.grad.abs().max() < 1e7
