"""What only a machine with a GPU can try: `asnn-goose doctor --gpu`, two minutes.

Every check takes the device, so that its own code can be tried on a CPU; no number of a GPU has
been seen yet (docs/scale.md).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from asnn_goose.model import GooseConfig, GooseForCausalLM
from asnn_goose.ops.wkv7 import Form, wkv7
from asnn_goose.ops.wkv7.fla import obstacle_to_fla
from asnn_goose.study.smoke import smoke

BOUNDS: dict[Form, float] = {"recurrent": 1e-4, "chunked": 1e-3, "fla": 3e-2}
"""Largest error of a form over the largest value; fla multiplies in bf16."""

LOGIT_BOUND = 1e-3

Tell = Callable[[str], None]


class GpuError(RuntimeError):
    """There is no GPU, or it does not do what a CPU does; the message says what."""


def gpu_checks(tell: Tell) -> None:
    """Every check on the first GPU; `tell` hears a line for each. Raises GpuError."""
    device = first_gpu()
    checks: dict[str, Callable[[torch.device], str]] = {
        "products": speed,
        "recurrence": recurrence,
        "student": student,
        "stages in fp32": partial(stages, precision="fp32"),
        "stages in bf16": partial(stages, precision="bf16"),
        "several devices": several,
    }
    for name, check in checks.items():
        began = time.monotonic()
        found = check(device)
        tell(f"{name}: {found} ({time.monotonic() - began:.0f} s)")


def first_gpu() -> torch.device:
    """The device; raises GpuError where there is none."""
    if not torch.cuda.is_available():
        raise GpuError(
            f"torch {torch.__version__} sees no GPU here, and --gpu tries nothing else: run it on "
            "a machine with one, with a torch built for it (https://pytorch.org); on a CPU "
            "asnn-goose doctor --deep trains in every kind of stage"
        )
    return torch.device("cuda")


def speed(device: torch.device, *, size: int = 4096) -> str:
    """Speed of square matrix products in bf16 and fp32: what `--machines` assumes of a device."""
    said = []
    for dtype in (torch.bfloat16, torch.float32):
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        best = min(_seconds(partial(torch.matmul, a, b), device) for _ in range(4))
        said.append(f"{2 * size**3 / best / 1e12:.3g} Tflop/s in {str(dtype)[6:]}")
    return ", ".join(said)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def recurrence(device: torch.device) -> str:
    """Outputs, states and gradients of every form that runs there, against fp64 on the CPU."""
    torch.manual_seed(0)
    r, k, v = torch.randn(3, 2, 70, 2, 16, dtype=torch.float64)
    kappa = torch.nn.functional.normalize(k, dim=-1)
    inputs = [r, -0.6 * torch.rand_like(r), k, v, -kappa, torch.rand_like(r) * kappa]
    wanted, said = _run(inputs, "recurrent"), []
    there = [x.to(device, torch.float32) for x in inputs]
    for form, bound in BOUNDS.items():
        if form == "fla" and (obstacle := obstacle_to_fla(there[0])):
            said.append(f"fla not tried: {obstacle}")
            continue
        error = max(_error(a, b) for a, b in zip(_run(there, form), wanted, strict=True))
        if not error <= bound:
            raise GpuError(f"wkv7 in the form {form!r} is off by {error:.1e}, of {bound:.0e}")
        said.append(f"{form} within {error:.0e}")
    return ", ".join(said)


def _run(inputs: list[Tensor], form: Form) -> list[Tensor]:
    """Outputs, the last state, and the gradients of a sum that hangs on all of them."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    y, state = wkv7(*inputs, form=form)
    gradients = torch.autograd.grad(y.square().sum() + state.square().sum(), inputs)
    return [x.detach().double().cpu() for x in (y, state, *gradients)]


def _error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
def student(device: torch.device) -> str:
    """Logits of a dense student, and of one that reads token by token, against the CPU's."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 128}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "head_size": 32}
    model: Any = GooseForCausalLM(GooseConfig(**sizes | heads))
    model.eval()
    tokens_BT = torch.randint(0, 300, (2, 70))
    wanted_BTV = model(tokens_BT).logits.double()
    model.to(device)
    found_BTV = model(tokens_BT.to(device)).logits
    state, steps = None, []
    for token_B1 in tokens_BT.to(device).split(1, dim=1):
        out = model(token_B1, past_key_values=state, use_cache=True)
        state = out.past_key_values
        steps.append(out.logits)
    errors = [_error(x.double().cpu(), wanted_BTV) for x in (found_BTV, torch.cat(steps, 1))]
    if not max(errors) <= LOGIT_BOUND:
        raise GpuError(f"logits are off by {max(errors):.1e}, of {LOGIT_BOUND:.0e}")
    return f"logits within {errors[0]:.0e}, token by token {errors[1]:.0e}"


def stages(device: torch.device, *, precision: str) -> str:
    """A tiny run through every kind of stage, broken off and resumed."""
    return f"{smoke(lambda text: None, precision=precision)} steps, interrupted once and resumed"


def several(device: torch.device, *, count: int | None = None) -> str:
    """The same on all devices of this machine at once, then with the student in parts."""
    if count is None:
        count = torch.cuda.device_count() if device.type == "cuda" else 1
    if count == 1:
        return "not tried: there is one"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    deep = [sys.executable, "-c", "from asnn_goose.cli import app; app()", "doctor", "--deep"]
    command = [*launcher, "--nproc-per-node", str(count), *deep]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GpuError(f"on {count} devices: {done.stderr.strip()[-2000:]}")
    return f"{count} train as one, and with the student in parts"
