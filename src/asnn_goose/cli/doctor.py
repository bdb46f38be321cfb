"""`asnn-goose doctor`: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from asnn_goose import disk, mkl
from asnn_goose.numbers import size
from asnn_goose.threads import SPINS, usable_cores, waiting

EXAMPLES = ("asnn-goose doctor", "asnn-goose doctor --deep", "asnn-goose doctor --gpu")

Deep = Annotated[
    bool, typer.Option("--deep", help="Train a tiny student in every kind of stage as well.")
]

Gpu = Annotated[bool, typer.Option("--gpu", help="Try all that takes a GPU as well.")]

PACKAGES = ("torch", "transformers", "accelerate", "safetensors", "tokenizers", "gguf", "numpy")
ENOUGH_MEMORY = 9e9
ENOUGH_DISK = 5e9


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` where something should be done, `essential` if it must."""

    name: str
    found: str
    advice: str = ""
    essential: bool = False

    @property
    def mark(self) -> str:
        """Good, could be better, or cannot work."""
        if not self.advice:
            return "ok"
        return "MISSING" if self.essential else "note"


def doctor(deep: Deep = False, gpu: Gpu = False) -> None:
    """Look over this machine and say what is amiss.

    Versions, native kernels, threads, memory, cache, teacher and disk; for every problem what
    would solve it. The exit code is 1 where something essential is missing, else 0. With --deep
    it also trains for a minute or two, on the device that there is; on several processes with
    `torchrun --nproc-per-node 2 --no-python asnn-goose doctor --deep`. With --gpu it compares what
    the GPU computes with what the CPU does, trains there in fp32 and bf16, and on all GPUs at once.
    """
    findings = [finding for check in CHECKS for finding in check()]
    speaks = os.environ.get("RANK", "0") == "0"  # one of several processes is enough
    for finding in findings if speaks else ():
        typer.echo(f"{finding.mark:8}{finding.name:18}{finding.found}")
        if finding.advice:
            typer.echo(f"{'':26}-> {finding.advice}")
    # A code for scripts: notes are advice, only what is missing is a failure.
    if any(finding.essential and finding.advice for finding in findings):
        raise typer.Exit(1)
    if gpu:
        from asnn_goose.study.gpu import gpu_checks

        gpu_checks(lambda text: typer.echo(f"{'ok':8}{'gpu':18}{text}"))
    if deep:
        from asnn_goose.study.smoke import smoke

        steps = smoke(lambda text: typer.echo(f"{'ok':8}{'training':18}{text}"))
        if speaks:
            typer.echo(f"{'ok':8}{'training':18}{steps} steps, interrupted once and resumed")


def python() -> Iterator[Finding]:
    """The interpreter."""
    old = sys.version_info < (3, 11)
    yield Finding(
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        advice="install Python 3.11 or newer" if old else "",
        essential=True,
    )


def packages() -> Iterator[Finding]:
    """Every package that training needs: installed, and torch importable."""
    for name in PACKAGES:
        try:
            yield Finding(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            advice = f"pip install {name}"
            yield Finding(name, "not installed", advice=advice, essential=True)


def kernels() -> Iterator[Finding]:
    """Compiled kernels, the instruction set torch uses, and a GPU if there is one."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        advice = "reinstall torch: pip install --force-reinstall torch"
        yield Finding("torch", f"cannot be loaded: {error}", advice=advice, essential=True)
        return
    from asnn_goose.ops import native_available, native_status

    rebuild = (
        "install g++ or clang++ and pip install the package again; until then training is slower"
    )
    status = native_status()
    advice = "" if status.startswith("in use") else rebuild
    if native_available() and advice:
        advice = "unset ASNN_GOOSE_ISA, or name one of those: nothing compiled runs like this"
    yield Finding("native kernels", status, advice=advice)
    yield Finding("torch kernels", torch.backends.cpu.get_cpu_capability())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: training on the CPU"
    yield Finding("gpu", gpu)
    yield from threads(torch.get_num_threads())


def threads(used: int) -> Iterator[Finding]:
    """Threads that torch will use, against cores that this process may use."""
    cores = usable_cores()
    advice = ""
    if used > cores:
        advice = f"more threads than cores slow each other down: export OMP_NUM_THREADS={cores}"
    yield Finding("threads", f"{used} threads on {cores} cores", advice=advice)
    yield waiting_threads(used)
    fast = f"MKL's fast kernels on an AMD processor ({mkl.SETTING}=as_is leaves them alone)"
    yield Finding("matrix products", fast if mkl.in_use() else "as torch chooses")


def waiting_threads(used: int) -> Finding:
    """How threads without work wait: briefly spinning, unless the user has set it otherwise."""
    found = waiting(os.environ)
    spins = found is None or found.lower().endswith("=active")
    advice = (
        "they spin for milliseconds, and beside another busy process training falls to a fraction "
        f"of its speed: export GOMP_SPINCOUNT={SPINS}"
    )
    return Finding(
        "waiting threads", found or "as OpenMP has it", advice=advice if spins and used > 1 else ""
    )


def memory() -> Iterator[Finding]:
    """Memory that is free now."""
    source = Path("/proc/meminfo")
    if not source.exists():
        return
    rows = dict(line.split(":") for line in source.read_text().splitlines())
    total, free = (int(rows[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    advice = ""
    if free < ENOUGH_MEMORY:
        advice = f"the demo needs about {size(ENOUGH_MEMORY)}: close other programs"
    yield Finding("memory", f"{size(free)} free of {size(total)}", advice=advice)


def cache() -> Iterator[Finding]:
    """The cache folder, what it takes, and the room left beside it."""
    from asnn_goose.sources import cache_dir

    folder = cache_dir()
    # Free space is asked of the nearest folder that is there: the cache may not have been made yet.
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    taken = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    advice = ""
    try:
        disk.check_folder(folder)
    except OSError as error:
        said = error.strerror
        advice = f"it cannot be written ({said}): set ASNN_GOOSE_CACHE to a folder of yours"
    found = f"{folder}, {size(taken)}" if folder.exists() else f"{folder}, not there yet"
    yield Finding("cache", found, advice=advice, essential=True)
    yield from room("disk for cache", existing)
    yield from room("disk for runs", Path.cwd())


def room(name: str, folder: Path) -> Iterator[Finding]:
    """Free space of the disk that holds `folder`."""
    free = shutil.disk_usage(folder).free
    advice = "" if free > ENOUGH_DISK else f"a run needs about {size(ENOUGH_DISK)}: make room"
    yield Finding(name, f"{size(free)} free at {folder}", advice=advice)


def teachers() -> Iterator[Finding]:
    """Built-in teachers: in the cache or not."""
    from asnn_goose.sources import TEACHERS, cached_teacher

    for name in TEACHERS:
        folder = cached_teacher(name)
        advice = (
            "" if folder else f"fetched when first used, or now: asnn-goose teacher fetch {name}"
        )
        found = str(folder) if folder else "not in the cache"
        yield Finding(name, found, advice=advice)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python,
    packages,
    kernels,
    memory,
    cache,
    teachers,
)
