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


def command(name: str, build: Path) -> list[str]:
    """What starts a fuzzer, without its options."""
    if name in ENGINE:
        return [str(build / f"fuzz_{name}")]
    return [sys.executable, "-m", "tests.fuzz.readers", name]


def row(name: str, build: Path, options: argparse.Namespace) -> str:
    """Carry one out; a row of the table."""
    kept = build / "corpus" / name
    kept.mkdir(parents=True, exist_ok=True)
    seeds = [str(folder) for folder in (CORPUS / name,) if folder.is_dir()]
    artifacts = f"-artifact_prefix={build / name}-"
    limits = [f"-max_total_time={options.seconds}", f"-runs={options.runs}", "-max_len=20000"]
    limits += [artifacts, f"-timeout={options.patience}", *OPTIONS]
    began = time.monotonic()
    done = subprocess.run(
        [*command(name, build), *limits, str(kept), *seeds],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stderr
    count = last(r"number_of_executed_units:\s*(\d+)", said) or last(r"^#(\d+)\s", said)
    reached, new = last(r"cov: (\d+)", said), last(r"new_units_added:\s*(\d+)", said)
    (build / f"{name}.log").write_text(said)
    found = "sound"
    if done.returncode:
        found = last(r"(?:Test unit written to|ERROR:) (.*)", said) or said[-200:]
    return "\t".join((name, count, f"{time.monotonic() - began:.0f}", reached, new, found))


def last(pattern: str, text: str) -> str:
    """The last thing that a pattern finds; nothing where it finds none."""
    return (["", *re.findall(pattern, text, re.MULTILINE)])[-1]


def rows(options: argparse.Namespace) -> Iterator[str]:
    for name in options.only:
        yield row(name, options.build.resolve(), options)


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
