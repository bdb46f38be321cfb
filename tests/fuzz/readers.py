"""A reader of strangers' files under atheris: what it reads guides what it is given next.

    python -m tests.fuzz.readers NAME [libFuzzer's options] FOLDER ...

A file that is neither read nor refused in words ends the program, and is kept for the next one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

SEEDS = Path(__file__).with_name("corpus")
IN_MEMORY = Path("/dev/shm")


def main() -> None:
    name, *options = sys.argv[1:]
    # Our own code and what it stands on in Python; the compiled readers are not seen into.
    with atheris.instrument_imports(include=["asnn_goose", "tomllib", "gguf"]):
        from tests.campaign.fuzz_readers import outcome, readers
    place = str(IN_MEMORY) if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="goose-fuzz-", dir=place) as own:
        reader = next(one for one in readers(Path(own)) if one.name == name)
        (Path(own) / "read").mkdir()
        file = Path(own) / "read" / reader.name
        seeds = Path(own) / "seeds"
        seeds.mkdir()
        (seeds / "sound").write_bytes(reader.sound)

        def once(data: bytes) -> None:
            file.write_bytes(data)
            found = outcome(reader, file)
            if found not in ("read", "refused"):
                raise RuntimeError(found)

        atheris.Setup([sys.argv[0], *options, str(seeds)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
