"""Readers of strangers' files under atheris: what they read guides what they are given next.

    python -m tests.fuzz.readers BUILD NAME[,NAME ...] [libFuzzer's options]

Each in a process of its own, forked when all is imported; what it says goes to BUILD/NAME.log, and
a line with its name, exit code and seconds is printed. What it found interesting is kept in
BUILD/corpus/NAME. A file that is neither read nor refused in words ends it, and is kept as
BUILD/NAME-crash-*.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from tests.campaign.fuzz_readers import Reader

IN_MEMORY = Path("/dev/shm")


def fuzz(reader: Reader, build: Path, own: Path, options: list[str]) -> None:
    """Never comes back: the fuzzer ends the process."""
    from tests.campaign.fuzz_readers import outcome

    log = os.open(build / f"{reader.name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    kept, seeds, place = (build / "corpus" / reader.name, own / "seeds", own / "read")
    for folder in (kept, seeds, place):
        folder.mkdir(parents=True, exist_ok=True)
    file = place / reader.name
    (seeds / "sound").write_bytes(reader.sound)

    def once(data: bytes) -> None:
        file.write_bytes(data)
        found = outcome(reader, file)
        if found not in ("read", "refused"):
            raise RuntimeError(found)

    artifacts = f"-artifact_prefix={build / reader.name}-"
    atheris.Setup([sys.argv[0], *options, artifacts, str(kept), str(seeds)], once)
    atheris.Fuzz()


def main() -> None:
    build, names, options = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
    # Our own code and what it stands on in Python; the compiled readers are not seen into.
    with atheris.instrument_imports(include=["asnn_goose", "tomllib", "gguf"]):
        from tests.campaign.fuzz_readers import readers
    place = str(IN_MEMORY) if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="goose-fuzz-", dir=place) as own:
        # Of two sound files of a name the first, which is the larger.
        found = {reader.name: reader for reader in reversed([*readers(Path(own))])}
        for name in names:
            began = time.monotonic()
            with tempfile.TemporaryDirectory(dir=own) as mine:
                if not (child := os.fork()):
                    fuzz(found[name], build, Path(mine), options)
                _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            print(f"{name} {code} {time.monotonic() - began:.0f}", flush=True)


if __name__ == "__main__":
    main()
