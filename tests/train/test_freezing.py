"""Codes that are held: which, from when on, through whatever moves the weights, and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.model.parts.projection import Projection
from asnn_goose.train.freezing import FREE, FreezeSettings, Freezing, codes_of, hold
from asnn_goose.train.loop import run
from asnn_goose.train.optimiser import Trained, restore_state, state_tensors
from asnn_goose.train.run_errors import TrainError
from asnn_goose.train.sharded_stage import check_sharded


def matrix_of(**precision: Any) -> Projection:
    torch.manual_seed(0)
    matrix = Projection(64, 8, bias=False, precision=Precision(**{"planes": 1} | precision))
    if matrix.ternary is not None:
        matrix.ternary.start_(matrix.weight)
    return matrix


def begun(matrix: Projection, **settings: Any) -> tuple[Any, Freezing]:
    trained = [Trained("w", "matrix", matrix.weight)]
    optimiser = torch.optim.AdamW([matrix.weight], lr=0.005, betas=(0.0, 0.9), weight_decay=0.1)
    return optimiser, Freezing(FreezeSettings(**settings), trained, optimiser, matrix)


def swing(matrix: Projection, freezing: Freezing, numbers: range, *, steps: int = 20) -> list[Any]:
    """Codes after each step, pulled at random and, in the first column, to and fro."""
    found = []
    for number in numbers:
        random = torch.Generator().manual_seed(number)
        matrix.weight.grad = torch.randn(8, 64, generator=random)
        matrix.weight.grad[:, 0] = 3.0 * (-1) ** number
        freezing.stop()
        freezing.step(number, steps=steps)
        found.append(codes_of(matrix))
    return found


def held(optimiser: Any, matrix: Projection) -> torch.Tensor:
    found: torch.Tensor = optimiser.state[matrix.weight]["held"]
    return found


@pytest.mark.parametrize(
    "precision", [{}, {"ternary": "lsq"}, {"ternary": "cat_q"}, {"planes": 2, "ternary": "ttq"}]
)
def test_what_never_flipped_keeps_its_code(precision: dict[str, Any]) -> None:
    matrix = matrix_of(**precision)
    optimiser, freezing = begun(matrix, still=0.0)
    codes = swing(matrix, freezing, range(10))
    assert (held(optimiser, matrix) == FREE).all()  # not before half of the stage
    codes += swing(matrix, freezing, range(10, 11))
    kept = held(optimiser, matrix).clone()
    still = torch.stack([code == codes[0] for code in codes]).all(0)
    assert torch.equal(kept != FREE, still)
    assert torch.equal(kept[still], codes[-1][still])
    assert 0 < still.float().mean() < 1
    later = swing(matrix, freezing, range(11, 20))
    assert all(torch.equal(code[still], kept[still]) for code in later)
    assert not torch.equal(later[-1], later[0])  # the others go on
    assert freezing.readings()["freeze.held"] >= float(still.float().mean())


def test_a_held_weight_does_not_move_and_counts_in_no_norm() -> None:
    matrix = matrix_of()
    optimiser, freezing = begun(matrix, still=1.0, since=0.0)
    swing(matrix, freezing, range(2))
    assert not (held(optimiser, matrix) == FREE).any()
    before = matrix.weight.detach().clone()
    swing(matrix, freezing, range(2, 5))
    assert torch.equal(matrix.weight, before)
    assert matrix.weight.grad is not None
    assert not matrix.weight.grad.any()


def test_what_swings_is_held_where_it_mostly_was() -> None:
    matrix = matrix_of()
    with torch.no_grad():  # one weight a row near the threshold, which steps of .005 cross
        matrix.weight[:, 0] = 0.5 * matrix.weight.abs().mean(-1) + 0.002
    optimiser, freezing = begun(matrix, swinging=0.3, momentum=0.2, since=0.65)
    codes = torch.stack(swing(matrix, freezing, range(14)))
    kept, mean = held(optimiser, matrix).clone(), codes[0].float()
    for code in codes[1:]:
        mean += 0.2 * (code - mean)
    found = optimiser.state[matrix.weight]["mean_code"]
    assert torch.allclose(found[kept == FREE], mean[kept == FREE], atol=1e-6)
    assert torch.equal(kept[kept != FREE], found.round()[kept != FREE].to(torch.int8))
    flips = (codes[1:] != codes[:-1]).float().mean(0)
    assert (kept != FREE).any()
    assert flips[kept != FREE].min() > flips.mean()
    taken = kept[:, 0] != FREE
    assert taken.float().mean() > 0.5
    later = swing(matrix, freezing, range(14, 20))
    for code in later:
        assert torch.equal(code[kept != FREE], kept[kept != FREE])


def test_flips_are_a_moving_mean() -> None:
    matrix = matrix_of()
    optimiser, freezing = begun(matrix, still=0.0, momentum=0.25)
    codes, flips = swing(matrix, freezing, range(1)), torch.zeros(8, 64)
    for number in range(1, 6):
        codes += swing(matrix, freezing, range(number, number + 1))
        changed = (codes[-1] != codes[-2]).float()
        flips += 0.25 * (changed - flips)
        assert torch.allclose(optimiser.state[matrix.weight]["flips"], flips)
        assert freezing.readings()["freeze.flipped"] == pytest.approx(float(changed.mean()))
    assert flips.any()


def test_a_threshold_that_moves_takes_no_held_code() -> None:
    matrix = matrix_of()
    wanted = codes_of(matrix)
    with torch.no_grad():
        matrix.weight[:, ::2] *= 3.0  # the mean magnitude of every row doubles
    assert not torch.equal(codes_of(matrix)[:, 1::2], wanted[:, 1::2])
    target = torch.full_like(wanted, FREE)
    target[:, 1::2] = wanted[:, 1::2]
    assert torch.equal(hold(matrix, target), codes_of(matrix))
    assert torch.equal(codes_of(matrix)[:, 1::2], wanted[:, 1::2])


def test_codes_come_back_where_something_else_sets_the_weights() -> None:
    matrix = matrix_of()
    optimiser, freezing = begun(matrix, still=0.0)
    swing(matrix, freezing, range(11))
    kept = held(optimiser, matrix).clone()
    with torch.no_grad():
        matrix.weight.mul_(torch.rand(8, 64, generator=torch.Generator().manual_seed(1)))
    assert not torch.equal(codes_of(matrix)[kept != FREE], kept[kept != FREE])
    freezing.settle()
    assert torch.equal(codes_of(matrix)[kept != FREE], kept[kept != FREE])


@pytest.mark.parametrize("broken_after", [1, 9, 12])
def test_a_checkpoint_holds_all_of_it(broken_after: int) -> None:
    settings = {"still": 0.02, "swinging": 0.2}
    whole = matrix_of()
    swing(whole, begun(whole, **settings)[1], range(20))
    matrix = matrix_of()
    optimiser, freezing = begun(matrix, **settings)
    swing(matrix, freezing, range(broken_after))
    trained = [Trained("w", "matrix", matrix.weight)]
    kept = {name: x.clone() for name, x in state_tensors(optimiser, trained).items()}
    optimiser, freezing = begun(matrix, **settings)
    restore_state(optimiser, trained, kept)
    swing(matrix, freezing, range(broken_after, 20))
    assert torch.equal(matrix.weight, whole.weight)


def plan_of(tiny: ModuleType) -> Any:
    plan = tiny.plan(noise=False, steps=(1, 5), accumulate=1)
    last = replace(
        plan.stages[1],
        precision=PrecisionTable({"*": {"planes": 1}}),
        freeze=FreezeSettings(still=0.05, swinging=0.3, since=0.4, momentum=0.2),
    )
    return replace(plan, stages=(plan.stages[0], last))


class StopError(Exception):
    """Raised in the middle of a run."""


def test_a_run_that_was_broken_off_ends_bit_for_bit_alike(tiny: ModuleType, tmp_path: Path) -> None:
    whole = tiny.Watcher()
    run(plan_of(tiny), out=tmp_path / "whole", resume=False, progress=whole)
    shares = [info.readings["freeze.held"] for info in whole.steps[1:]]
    assert shares[0] == 0 < shares[-1] < 1
    watcher = tiny.Watcher()

    def stop(info: Any) -> None:
        if info.run_step == 4:
            raise StopError

    watcher.on_step = stop
    with pytest.raises(StopError):
        run(plan_of(tiny), out=tmp_path / "cut", resume=False, progress=watcher)
    run(plan_of(tiny), out=tmp_path / "cut", resume=True, progress=tiny.Watcher())
    assert tiny.weights(tmp_path / "cut") == tiny.weights(tmp_path / "whole")


def test_a_student_in_parts_is_refused(tiny: ModuleType) -> None:
    with pytest.raises(TrainError, match=r"has freeze, and train\.shard = true"):
        check_sharded(plan_of(tiny).stages[1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "freezes nothing; set still, swinging or both"),
        ({"still": 0.0, "since": 1.0}, r"since = 1\.0: must be 0 or more and below 1"),
        ({"still": 0.0, "momentum": 0.0}, r"momentum = 0\.0: must be above 0"),
        ({"still": 0.3, "swinging": 0.2}, r"still = 0\.3: must be below swinging = 0\.2"),
    ],
)
def test_senseless_settings_are_named(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FreezeSettings(**settings)


@pytest.mark.parametrize(
    ("precision", "said"), [({"planes": 0}, "no ternary matrix"), ({"planes": 2}, "two planes")]
)
def test_matrices_without_one_code_are_refused(precision: dict[str, int], said: str) -> None:
    with pytest.raises(TrainError, match=said):
        begun(matrix_of(**precision), still=0.0)
