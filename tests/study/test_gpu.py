"""What doctor --gpu tries, as far as a CPU can: its own code runs, and its bounds bind."""

from __future__ import annotations

import pytest
import torch

from asnn_goose.study import gpu

CPU = torch.device("cpu")


def test_the_recurrence_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    said = gpu.recurrence(CPU)
    assert "chunked within" in said
    assert "fla not tried: it runs on CUDA" in said
    run = gpu.wkv7

    def off(*inputs: torch.Tensor, form: gpu.Form) -> tuple[torch.Tensor, torch.Tensor]:
        y, state = run(*inputs, form=form)
        return y * (1 + 0.01 * (form == "chunked")), state

    monkeypatch.setattr(gpu, "wkv7", off)
    with pytest.raises(gpu.GpuError, match=r"in the form 'chunked' is off by"):
        gpu.recurrence(CPU)


def test_students_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.student(CPU).startswith("logits within")
    monkeypatch.setattr(gpu, "LOGIT_BOUND", 1e-12)
    with pytest.raises(gpu.GpuError, match="logits are off by"):
        gpu.student(CPU)


def test_products_are_timed() -> None:
    assert gpu.speed(CPU, size=64).endswith("Tflop/s in float32")


def test_one_device_is_no_crew() -> None:
    assert gpu.several(CPU) == "not tried: there is one"
