"""What a packed model says of its spikes, and the bias that belongs to ternary weights."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from asnn_goose.format.packed import PackedError, read_packed

DOWN = "blocks.0.mlp.down"
AMPLITUDE = {"amplitude": [0.5], "fires": [0.25]}
MEASURES: list[tuple[int, dict[str, list[float]], str]] = [
    (1, {"threshold": [0.7]}, ""),
    (1, AMPLITUDE, ""),
    (1, AMPLITUDE | {"fires": [0.0]}, ""),
    (2, {"amplitude": [0.5]}, ""),
    (1, {"amplitude": [0.5]}, r"tensor 'SITE.fires' is None, must be F32 \[1\]"),
    (2, AMPLITUDE, r"tensor 'SITE.fires' is 'there', must be left out"),
    (1, AMPLITUDE | {"threshold": [0.7]}, r"tensor 'SITE.threshold' is 'there', must be left out"),
    (1, {"fires": [0.25]}, r"tensor 'SITE.threshold' is None"),
    (1, AMPLITUDE | {"amplitude": [0.0]}, r"tensor 'SITE.amplitude' is 0.0, must be above 0"),
    (1, AMPLITUDE | {"fires": [-0.5]}, r"tensor 'SITE.fires' is -0.5, must be at least 0"),
    (2, {"amplitude": [np.inf]}, r"a number in tensor 'SITE.amplitude' is 'not finite'"),
    (2, {"amplitude": [0.5, 0.5]}, r"shape of tensor 'SITE.amplitude' is \[2\], must be \[1\]"),
]


@pytest.mark.parametrize("name", ["blocks.0.mixer.k", "blocks.1.mixer.v", DOWN])
@pytest.mark.parametrize(("steps", "numbers", "words"), MEASURES)
def test_spikes_have_a_threshold_or_an_amplitude(
    steps: int,
    numbers: dict[str, list[float]],
    words: str,
    name: str,
    tmp_path: Path,
    fuzz: ModuleType,
) -> None:
    arrays, matrices = fuzz.sound(fuzz.TINY, 0)
    matrices[name] = {"steps": steps, "code": "rate", "rotate": False}
    for end in ("threshold", "amplitude", "fires"):
        arrays.pop(f"{name}.{end}", None)
    arrays |= {f"{name}.{end}": np.array(value, np.float32) for end, value in numbers.items()}
    if not words:
        fuzz.write_sound(tmp_path, fuzz.TINY, arrays, matrices)
        assert read_packed(tmp_path).matrices[name]["steps"] == steps
        return
    with pytest.raises(PackedError, match=words.replace("SITE", name)):
        fuzz.write_sound(tmp_path, fuzz.TINY, arrays, matrices)


def test_only_ternary_matrices_have_a_bias_that_no_setting_asks_for(
    tmp_path: Path, fuzz: ModuleType
) -> None:
    config = fuzz.TINY | {"qkv_bias": False}
    arrays, matrices = fuzz.sound(config, 0)
    ends = {f"blocks.0.mixer.{name}" for name in ("receptance", "key", "value")}
    ternary = {name for name in ends if f"{name}.planes" in arrays}
    assert ternary
    assert ends - ternary
    bias = np.ones(64, np.float32)
    fuzz.write_sound(tmp_path, config, arrays | {f"{n}.bias": bias for n in ternary}, matrices)
    for name in ends - ternary:
        with pytest.raises(PackedError, match=rf"tensor '{name}.bias' is 'there', must be left"):
            fuzz.write_sound(tmp_path, config, arrays | {f"{name}.bias": bias}, matrices)
