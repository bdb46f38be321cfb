"""Every instruction set gives the integers that PyTorch and plain numpy give."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asnn_goose.format.planes import pack_planes
from asnn_goose.infer.reference.spikes import encode_fixed
from asnn_goose.ops.hadamard import hadamard
from asnn_goose.ops.spike_codes import encode, encode_at, levels

native: Any = pytest.importorskip("asnn_goose._native")


class Case(NamedTuple):
    M: int
    K: int
    planes: int
    groups: int
    steps: int
    code: str
    threshold: float
    rotate: bool


CASES = [
    Case(576, 576, 1, 1, 1, "radix3", 1.3, False),
    Case(576, 1536, 2, 1, 3, "radix3", 4.0, True),
    Case(1000, 192, 2, 3, 4, "radix2", 3.0, True),
    Case(70, 64, 1, 1, 5, "rate", 2.0, False),
    Case(448, 128, 1, 2, 4, "radix3", 3.0, False),
    Case(512, 4096, 1, 1, 1, "rate", 0.0, False),
    Case(64, 64, 1, 1, 6, "radix2", 3.0, True),
    Case(1, 128, 2, 1, 2, "rate", 1.5, False),
]


@pytest.fixture(params=native.isas())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ASNN_GOOSE_ISA", request.param)
    return str(request.param)


class Ternary:
    """A random matrix, packed, with its inputs."""

    def __init__(self, case: Case, *, rows: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.case, self.rows = case, rows
        self.T = rng.integers(-1, 2, (case.planes, case.M, case.K)).astype(np.int8)
        self.scale = rng.random((case.planes, case.groups, case.M)).astype(np.float32) + 0.1
        self.x = rng.standard_normal((rows, case.K)).astype(np.float32)
        self.x[1:2] *= 1e-3
        self.x[2:3] = 0
        self.packed = np.ascontiguousarray(pack_planes(self.T))
        self.matrix = native.TernaryMatrix(
            self.packed.ctypes.data,
            case.planes,
            case.M,
            case.K,
            case.groups,
            self.scale.ctypes.data,
        )

    def settings(self) -> tuple[Any, ...]:
        c = self.case
        return self.rows, c.steps, c.code, c.threshold, c.rotate

    def encoded(self, **fixed: float) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        q = np.full((self.rows, self.case.K), 99, np.int16)
        amplitude = np.full(self.rows, np.nan, np.float32)
        self.matrix.encode(
            self.x.ctypes.data, q.ctypes.data, amplitude.ctypes.data, *self.settings(), **fixed
        )
        return q, amplitude

    def multiplied(self) -> NDArray[np.float32]:
        y = np.full((self.rows, self.case.M), np.nan, np.float32)
        self.matrix.multiply(self.x.ctypes.data, y.ctypes.data, *self.settings())
        return y

    def expected(self, q: NDArray[np.int16], amplitude: NDArray[np.float32]) -> Any:
        """fp32 in the engine's order on exact integers."""
        total = np.zeros((self.rows, self.case.M), np.float32)
        for plane in range(self.case.planes):
            parts = zip(
                np.split(q.astype(np.int64), self.case.groups, axis=1),
                np.split(self.T[plane].astype(np.int64), self.case.groups, axis=1),
                strict=True,
            )
            for group, (some_q, some_T) in enumerate(parts):
                total += self.scale[plane, group] * (some_q @ some_T.T).astype(np.float32)
        return amplitude[:, None] * total


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_encoder_agrees_with_pytorch_exactly(isa: str, case: Case) -> None:
    ternary = Ternary(case)
    q, amplitude = ternary.encoded()
    x = torch.from_numpy(ternary.x)
    h = hadamard(x) if case.rotate else x
    wanted = encode(h, steps=case.steps, code=case.code, threshold=case.threshold)
    np.testing.assert_array_equal(q, wanted.q_BK.numpy().astype(np.int16))
    np.testing.assert_array_equal(amplitude, wanted.amplitude_B1.numpy()[:, 0])


SIDES = [Case(576, 576, 1, 1, 1, "radix3", 1.3, False), *CASES[1:]]


@pytest.mark.parametrize("case", SIDES, ids=str)
def test_signs_with_a_scale_each_are_two_planes_to_the_bit(isa: str, case: Case) -> None:
    """One plane and its two scales, beside codes 0, 1 and codes -1, 0 in a plane each."""
    two = Ternary(case._replace(planes=2))
    signs = np.random.default_rng(5).integers(-1, 2, two.T.shape[1:]).astype(np.int8)
    two.T[:] = signs.clip(0, None), signs.clip(None, 0)
    one = Ternary(case._replace(planes=1))
    one.x = two.x
    for ternary, codes in ((two, two.T), (one, signs[None])):
        ternary.packed = np.ascontiguousarray(pack_planes(codes))
        ternary.scale = two.scale
        ternary.matrix = native.TernaryMatrix(
            ternary.packed.ctypes.data,
            len(codes),
            case.M,
            case.K,
            case.groups,
            two.scale.ctypes.data,
            sides=len(codes) == 1,
        )
    assert one.packed.nbytes * 2 == two.packed.nbytes
    wanted = two.multiplied()
    assert np.abs(wanted[0]).max() > 0
    if case.groups == 1:
        np.testing.assert_array_equal(one.multiplied(), wanted)
    else:  # sums of groups come in another order
        np.testing.assert_allclose(one.multiplied(), wanted, rtol=1e-5, atol=1e-5)


AMPLITUDES = [0.3, 0.125, 7.0, 1e-30, 1e-42]


def at(
    x: NDArray[np.float32], case: Case, amplitude: float, fires: float
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """What PyTorch makes of x (rows, K) at a given amplitude."""
    spikes = encode_at(
        torch.from_numpy(x),
        torch.tensor(amplitude),
        top=levels(case.code, case.steps),
        fires=torch.tensor(fires),
    )
    wanted = spikes.amplitude_B1.expand(len(x), 1).numpy()[:, 0]
    return spikes.q_BK.numpy().astype(np.int16), wanted


@pytest.mark.parametrize("amplitude", AMPLITUDES)
@pytest.mark.parametrize("case", [case for case in CASES if not case.rotate], ids=str)
def test_fixed_amplitudes_agree_with_pytorch_and_numpy_exactly(
    isa: str, case: Case, amplitude: float
) -> None:
    ternary = Ternary(case)
    fires = {"fires": 0.4} if case.steps == 1 else {}
    q, found = ternary.encoded(fixed=amplitude, **fires)
    wanted, amplitudes = at(ternary.x, case, amplitude, 0.4)
    np.testing.assert_array_equal(q, wanted)
    np.testing.assert_array_equal(found, amplitudes)
    for row, x_K in enumerate(ternary.x):
        oracle = encode_fixed(x_K, steps=case.steps, code=case.code, amplitude=amplitude, **fires)
        np.testing.assert_array_equal(q[row], oracle.levels_K)
        assert found[row] == oracle.amplitude


def test_a_fixed_amplitude_rounds_halves_to_even_and_fires_above_its_threshold(isa: str) -> None:
    x = np.tile(np.array([0.25, 0.75, -1.25, 9.0, -9.0, 0, 0.26, -0.26], np.float32), 8)[None]
    several = Ternary(Case(64, 64, 1, 1, 2, "radix2", 1, False), rows=1)
    several.x = x
    q, amplitude = several.encoded(fixed=0.5)
    np.testing.assert_array_equal(q[0, :8], [0, 2, -2, 3, -3, 0, 1, -1])
    assert amplitude[0] == 0.5
    one = Ternary(Case(64, 64, 1, 1, 1, "rate", 1, False), rows=1)
    one.x = x
    q, amplitude = one.encoded(fixed=3.0, fires=0.25)
    np.testing.assert_array_equal(q[0, :8], [0, 1, -1, 1, -1, 0, 1, -1])
    assert amplitude[0] == 3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_product_is_exact_in_integers(isa: str, case: Case) -> None:
    ternary = Ternary(case)
    y = ternary.multiplied()
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y, ternary.expected(*ternary.encoded()), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whole_numbers_stay_whole(isa: str, case: Case) -> None:
    """With scales of one and given integers every result is an integer, bit for bit."""
    ternary = Ternary(case)
    ternary.scale[:] = 1
    q, _ = ternary.encoded()
    y = np.full((ternary.rows, case.M), np.nan, np.float32)
    ternary.matrix.prepare(q.ctypes.data, ternary.rows, case.steps, case.code)
    ternary.matrix.product(y.ctypes.data)
    wanted = sum(q.astype(np.int64) @ plane.T.astype(np.int64) for plane in ternary.T)
    np.testing.assert_array_equal(y, wanted)


def test_extreme_counts_do_not_overflow(isa: str) -> None:
    """All weights and all spikes one: the counters run to their ends."""
    rows, columns = 576, 16384
    packed = np.ascontiguousarray(pack_planes(np.ones((1, rows, columns), np.int8)))
    scale = np.ones((1, 1, rows), np.float32)
    matrix = native.TernaryMatrix(packed.ctypes.data, 1, rows, columns, 1, scale.ctypes.data)
    for sign in (1, -1):
        q = np.full((1, columns), sign, np.int16)
        y = np.full((1, rows), np.nan, np.float32)
        matrix.prepare(q.ctypes.data, 1, 1, "rate")
        matrix.product(y.ctypes.data)
        np.testing.assert_array_equal(y, sign * columns)


def test_halves_round_to_even_everywhere(isa: str) -> None:
    """Inputs on the border between two levels: mean 1, threshold 2, radix2 of two steps."""
    case = Case(64, 64, 1, 1, 2, "radix2", 3.0, False)
    ternary = Ternary(case, rows=1)
    ternary.x = np.tile(np.array([0.5, 1.5, -0.5, -1.5], np.float32), 16)[None]
    q, amplitude = ternary.encoded()
    assert amplitude[0] == 1
    np.testing.assert_array_equal(q[0, :4], [0, 2, 0, -2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-42])
def test_strange_inputs_stay_within_the_lists(isa: str, value: float) -> None:
    for case in CASES[:4]:
        ternary = Ternary(case)
        ternary.x[0, 5] = value
        ternary.x[1] = value
        q, _ = ternary.encoded()
        assert abs(q.astype(int)).max() <= 40
        ternary.multiplied()
        q, _ = ternary.encoded(fixed=0.5, fires=0.5)
        assert abs(q.astype(int)).max() <= 40
        if not case.rotate:
            sign = np.nan_to_num(np.sign(value))
            assert q[0, 5] == (sign * levels(case.code, case.steps) if abs(value) > 1 else 0)


def test_no_instruction_set_is_an_error_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASNN_GOOSE_ISA", "mmx")
    with pytest.raises(ValueError, match=r"mmx.*reference"):
        Ternary(CASES[0])
