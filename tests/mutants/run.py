"""Break one formula at a time and see whether a test notices: `python tests/mutants/run.py`.

The lists beside this file say what is broken: the file below `src/asnn_goose`, the exact text, the
text in its place, and the test files that must notice. A mutant is applied in a copy of the
sources. One process imports the slow libraries once and is forked for each mutant, so that a
mutant costs what its tests cost. The work tree is only read, but for the table in docs/mutants.md,
which a whole run writes.

Exit 1 where a mutant survives without an argument why nothing can notice it, where its text is
gone, or where the named tests fail without it.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forked import run_tests
from kept import Kept
from reach import ROWS, Reach
from table import write_table
from verdicts import Mutant, Result

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SLOW = """
    torch._dynamo torch.distributed.tensor torch.utils.data accelerate.utils
    transformers.masking_utils transformers.modeling_utils transformers.generation
    transformers.distributed.fsdp transformers.models.llama.modeling_llama
    transformers.models.gpt2.modeling_gpt2 safetensors.torch gguf jinja2 pydantic pyarrow.parquet
    scipy.stats rdata schemathesis.pytest.plugin pytest hypothesis typer.testing
"""
"""What our packages import from others: seconds once, instead of seconds a mutant."""
WAITS = 20
"""By how much longer than its seconds of processor a mutant may take on a busy machine."""


def main() -> int:
    """Run the chosen mutants, print what survived, and say by the exit code whether all is well."""
    options = _options()
    mutants = [m for m in read_lists(HERE) if options.only in m.name]
    stale = [Result(mutant=m, verdict="stale") for m in mutants if not m.fits(ROOT)]
    fresh = [m for m in mutants if m.fits(ROOT)]
    if options.check:
        _print_faults(stale)
        return bool(stale)
    os.environ["OMP_NUM_THREADS"] = "1"
    for library in SLOW.split():
        with suppress(ImportError):  # an extra, or a name that another version has elsewhere
            importlib.import_module(library)
    gc.freeze()  # pytest collects garbage thrice a run, through all that was imported
    kept, reach = Kept.read(options.kept, ROOT), Reach(mutants=tuple(fresh))
    results, asked = stale, []
    for mutant in _with_sound(fresh):
        found = kept.find(mutant)
        if found is None:
            asked.append(mutant)
        else:
            reach.learn(found)
            results.append(found)
    for result in _judge(asked, reach, jobs=options.jobs, limit=options.timeout):
        kept.add(result)
        reach.learn(result)
        results.append(result)
    _print_faults(results)
    if not options.only:
        write_table(results, ROOT / "docs" / "mutants.md")
    return any(result.fault for result in results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="part of a file's name or of the broken text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at one time")
    parser.add_argument(
        "--timeout", type=float, default=240, help="processor seconds for one mutant"
    )
    parser.add_argument("--kept", type=Path, help="JSON lines of good verdicts, read and added to")
    parser.add_argument("--check", action="store_true", help="only look for texts that are gone")
    return parser.parse_args()


def read_lists(folder: Path) -> list[Mutant]:
    """All mutants of the TOML lists in a folder, in the order of the files."""
    tables = [tomllib.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.toml"))]
    return [Mutant.of(row) for table in tables for row in table["mutant"]]


def _with_sound(mutants: Iterable[Mutant]) -> Iterator[Mutant]:
    """Each mutant, and the sound code with each test file before the first mutant it judges."""
    files: set[str] = set()
    for mutant in mutants:
        for test in mutant.tests:
            if test not in files:
                files.add(test)
                yield Mutant(file="", old="", new="", tests=(test,))
        yield mutant


def _judge(mutants: Sequence[Mutant], reach: Reach, *, jobs: int, limit: float) -> Iterator[Result]:
    """Results as they come, with a line of progress for each."""
    waiting, running, began, done = list(mutants), {}, time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        while waiting or running:
            while waiting and len(running) < jobs:
                mutant = waiting.pop(0)
                folder = Path(scratch) / str(len(waiting))
                job = _Job.start(mutant, folder, reach, limit=limit)
                running[job.process] = job
            for job in [j for j in running.values() if j.over(WAITS * limit)]:
                del running[job.process]
                done += 1
                result = job.result()
                _print_progress(result, done, len(mutants), time.monotonic() - began)
                yield result
            time.sleep(0.05)


@dataclass(kw_only=True)
class _Job:
    """One forked process that runs the tests of one mutant in a folder of its own."""

    mutant: Mutant
    folder: Path
    process: int
    began: float
    status: int | None = None

    @classmethod
    def start(cls, mutant: Mutant, folder: Path, reach: Reach, *, limit: float) -> _Job:
        mutant.apply(ROOT / "src", folder / "src")
        plugin = reach.plugin(mutant, folder)
        process = os.fork()
        if process == 0:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
            run_tests([ROOT / "tests" / test for test in mutant.tests], folder, plugin)
        return cls(mutant=mutant, folder=folder, process=process, began=time.monotonic())

    def over(self, limit: float) -> bool:
        """Whether it has ended; one that is too slow is ended."""
        process, status = os.waitpid(self.process, os.WNOHANG)
        if process:
            code = os.waitstatus_to_exitcode(status)
            self.status = None if code == -signal.SIGXCPU else code
        elif time.monotonic() - self.began > limit:
            os.killpg(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
            return True
        return process != 0

    def result(self) -> Result:
        seconds = time.monotonic() - self.began
        noticed, rows = _read(self.folder / "noticed.json"), _read(self.folder / ROWS)
        log = (self.folder / "log").read_text(errors="replace")[-1500:]
        shutil.rmtree(self.folder, ignore_errors=True)
        found = Result.of(self.mutant, self.status, noticed)
        log = log if found.fault else ""
        return replace(found, seconds=seconds, log=log, rows=rows or ())


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _print_progress(result: Result, done: int, total: int, seconds: float) -> None:
    left = seconds / done * (total - done)
    print(f"{done}/{total} {left:4.0f} s left {result.verdict:9} {result.mutant.name}", flush=True)


def _print_faults(results: Sequence[Result]) -> None:
    for result in results:
        if result.fault:
            print(f"\n{result.verdict.upper()}  {result.mutant.name}")
            print(f"  tests: {' '.join(result.mutant.tests)}")
            if result.verdict not in ("stale", "survived"):
                print(result.log)
    count = sum(result.fault for result in results)
    print(f"\n{len(results)} looked at, {count} at fault")


if __name__ == "__main__":
    sys.exit(main())
