"""The compiled kernels (csrc/bindings.cpp). Tensors come in as addresses of contiguous fp32."""

def isas() -> list[str]:
    """Instruction sets that this build holds and this machine can run, slowest first."""

def isa() -> str:
    """The one in use: the fastest, or the one named by ASNN_GOOSE_ISA."""

def wkv7_forward(
    *,
    sizes: tuple[int, int, int, int],
    inputs: tuple[int, int, int, int, int, int],
    state: int,
    outputs: tuple[int, int, int],
    threads: int,
) -> None:
    """Inputs r, w, k, v, alpha, beta and the initial state; outputs y, p and the final state."""

def wkv7_backward(
    *,
    sizes: tuple[int, int, int, int],
    inputs: tuple[int, int, int, int, int, int],
    state: int,
    p: int,
    gradients_in: tuple[int, int],
    gradients_out: tuple[int, int, int, int, int, int, int],
    threads: int,
) -> None:
    """Gradients of y and of the final state come in, those of all inputs and the state go out."""
