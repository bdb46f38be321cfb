"""Every fuzzer for some seconds: what it executed, what it reached, and what it found.

    python -m tests.fuzz.run [--build build/fuzz] [--seconds 60] [--runs N] [--only NAME ...]
                             [--log FILE]

Prints a row for each: name, executions, seconds, places in the code that were reached, inputs that
reached new ones, and "sound" or the file that was not met well. What a fuzzer has found interesting
is kept in the build folder, and the next call begins with it. --log adds the rows to a file;
--runs ends a fuzzer after so many executions.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.seeds import CORPUS

ENGINE = ("config", "model", "state", "sampler")
READERS = (
    *("recipe.toml", "metrics.jsonl", "own.jsonl", "own.txt", "own.parquet", "examples.jsonl"),
    *("tokenizer.json", "compact.safetensors", "a.state", "a.records", "a.gguf"),
)
OPTIONS = ("-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=1")


def engine(name: str, build: Path, options: list[str]) -> tuple[int, float]:
    """Carry out a fuzzer of compiled code: its exit code, and seconds."""
    kept = build / "corpus" / name
    kept.mkdir(parents=True, exist_ok=True)
    artifacts = f"-artifact_prefix={build / name}-"
    command = [str(build / f"fuzz_{name}"), *options, artifacts, str(kept), str(CORPUS / name)]
    began = time.monotonic()
    with (build / f"{name}.log").open("wb") as log:
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    return code, time.monotonic() - began


def readers(names: list[str], build: Path, options: list[str]) -> Iterator[tuple[str, int, float]]:
    """Carry out those of Python's readers, of a process that has imported all of them."""
    command = [sys.executable, "-m", "tests.fuzz.readers", str(build), ",".join(names), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            name, code, seconds = line.split()
            yield name, int(code), float(seconds)


def row(name: str, build: Path, code: int, seconds: float) -> str:
    """A row of the table, from what a fuzzer said."""
    said = (build / f"{name}.log").read_text(errors="replace")
    count = last(r"number_of_executed_units:\s*(\d+)", said) or last(r"^#(\d+)\s", said)
    reached, new = last(r"cov: (\d+)", said), last(r"new_units_added:\s*(\d+)", said)
    found = "sound"
    if code:
        found = last(r"(?:Test unit written to|ERROR:) (.*)", said) or said[-200:]
    return "\t".join((name, count, f"{seconds:.0f}", reached, new, found))


def last(pattern: str, text: str) -> str:
    """The last thing that a pattern finds; nothing where it finds none."""
    return (["", *re.findall(pattern, text, re.MULTILINE)])[-1]


def rows(asked: argparse.Namespace) -> Iterator[str]:
    build = asked.build.resolve()
    (build / "corpus").mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={asked.seconds}", f"-runs={asked.runs}", "-max_len=20000"]
    options += [f"-timeout={asked.patience}", *OPTIONS]
    for name in (name for name in asked.only if name in ENGINE):
        yield row(name, build, *engine(name, build, options))
    names = [name for name in asked.only if name in READERS]
    for name, code, seconds in readers(names, build, options) if names else ():
        yield row(name, build, code, seconds)


def main() -> int:
    """Exit code 1 where a fuzzer found something."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--patience", type=int, default=10, help="seconds that are a hang")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*ENGINE, *READERS], default=ENGINE + READERS)
    bad, options = 0, parser.parse_args()
    for found in rows(options):
        print(found, flush=True)
        if options.log:
            with options.log.open("a") as log:
                log.write(found + "\n")
        bad += not found.endswith("\tsound")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
