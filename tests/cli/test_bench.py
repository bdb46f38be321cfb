"""`asnn-goose bench` on tiny random students."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.eval.random_student import Random, write_random
from asnn_goose.infer.backend import EngineError, native_module

SHORT = ["--tokens", "4", "--prompt", "8", "--repeats", "1"]


def native() -> bool:
    try:
        native_module()
    except EngineError:
        return False
    return True


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_random_student(
    runner: CliRunner, tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASNN_GOOSE_CACHE", str(tmp_path / "cache"))
    if backend == "native" and not native():
        pytest.skip("the engine is not built")
    file = tmp_path / "bench.json"
    words = ["bench", "--random", "tiny", *SHORT, "--concurrent", "1,3", "--json", str(file)]
    words += ["--reference"] if backend == "reference" else []
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    for said in ("decode tok/s", "first token", "peak memory", "spike density", "together"):
        assert said in done.stdout
    found = json.loads(file.read_text())
    assert found["backend"] == backend
    assert [rate["concurrent"] for rate in found["rates"]] == [1, 3]
    assert all(rate["decode"] > 0 and rate["prefill"] > 0 for rate in found["rates"])
    assert 0 < found["loaded_s"] < found["first_token_s"]
    assert found["peak_bytes"] > 1e6
    assert found["density"] == pytest.approx(0.3, abs=0.1)
    assert set(found["density_by_site"]["mlp.down"]) == {"0", "1"}
    assert found["matrices_s_by_cost_model"] is None
    assert ("no cost model of this machine" in done.stdout) == (backend == "native")
    parts = {work["part"]: work["picojoules"] for work in found["work"]}
    assert parts["mlp"] < found["dense_picojoules"]["fp32"]


def test_a_packed_folder_and_one_without_spikes(runner: CliRunner, tmp_path: Path) -> None:
    wanted = Random(shape="tiny", planes=0, steps=0, dense="int4", head="int4")
    write_random(tmp_path, wanted, backend="reference")
    done = runner.invoke(app, ["bench", str(tmp_path), *SHORT, "--reference"])
    assert done.exit_code == 0, done.output
    assert "spike density" not in done.stdout
    assert "dense fp16" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either a model or --random SHAPE"),
        (["x", "--random", "tiny"], "give either a model or --random SHAPE"),
        (["--random", "7b"], "choose one of tiny, 135m"),
        (["--random", "tiny", "--density", "1"], "must be above 0 and below 1"),
        (["--random", "tiny", "--planes", "3"], "planes = 3: must be 0, 1 or 2"),
        (["--random", "tiny", "--planes", "0", "--dense", "int3"], "choose one of f16, int8, int4"),
        (["--random", "tiny", "--repeats", "0"], "repeats = 0: must be at least 1"),
        (["--random", "tiny", "--threads", "1,x"], "--threads 1,x: write a whole number"),
        (["nowhere"], "'nowhere' is no student"),
    ],
)
def test_what_a_user_can_mistype(runner: CliRunner, words: list[str], said: str) -> None:
    done = runner.invoke(app, ["bench", *words, "--reference"])
    assert done.exit_code == 2
    assert said in done.output
