"""Run a package client, and look at what it left behind."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from asnn_goose import leftovers
from asnn_goose.sources.cache import SourceError, cache_dir, new_folder

OTHER_CACHE = "A cache filled on another machine can be given with ASNN_GOOSE_CACHE"
_LAST_LINES = 4


class Package(Protocol):
    """Something a client downloads: where it lies unpacked, and which version that is."""

    def fetch(self) -> Path:
        """The unpacked package, downloaded on first use."""

    def found_version(self) -> str:
        """The version that `fetch` gives."""


@dataclass(frozen=True, slots=True)
class Pinned(ABC):
    """An archive of one version, which is unpacked for what it holds and never installed.

    sha256  of the archive; None takes whatever comes
    folder  inside it that matters
    """

    package: str
    version: str
    sha256: str | None = None
    folder: str = ""

    @abstractmethod
    def home(self) -> Path:
        """Where the cache keeps it unpacked."""

    @abstractmethod
    def download(self, folder: Path) -> Path:
        """The archive, put into a folder by the registry's client."""

    def place(self) -> Path:
        """Where `fetch` leads, fetched or not."""
        return self.home() / self.folder

    def fetch(self) -> Path:
        """The folder inside it, downloaded on first use.

        Raises SourceError where the client is missing or fails, or on another SHA-256.
        """
        if not self.home().is_dir():
            with new_folder(self.home()) as fresh, scratch() as downloads:
                archive = self.download(downloads)
                verify(archive, self.sha256)
                unpack(archive, fresh)
        return self.place()

    def found_version(self) -> str:
        """The pinned version."""
        return self.version


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for downloads that is gone afterwards, or once the next one is made."""
    # In the cache: what is killed leaves there what it had, and /tmp may be small.
    cache_dir().mkdir(parents=True, exist_ok=True)
    with leftovers.scratch(cache_dir() / "downloads") as folder:
        yield folder


def require_program(program: str, *, wanted: str, instead: str) -> None:
    """Raise SourceError where a client is not on this machine; `instead` says what to do."""
    if shutil.which(program) is None:
        raise SourceError(
            f"wanted {wanted}, but {program} is not on this machine: {instead}, give a text of "
            f"your own in its place, or set ASNN_GOOSE_CACHE to a cache filled on another machine"
        )


def run(command: Sequence[str], *, wanted: str, remedy: str, folder: Path | None = None) -> None:
    """Run a client; when it fails show the end of what it said, for it knows the cause."""
    # The registry's own client: it knows proxies, mirrors and credentials that we should only get
    # wrong.
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:]
        if "Traceback" in done.stderr:  # where the client broke helps nobody here
            said = said[-1:]
        raise SourceError(
            f"wanted {wanted}, but {Path(command[0]).name} failed with exit code "
            f"{done.returncode}: {remedy}.\n" + "\n".join(f"  {line}" for line in said)
        )


def only_file(folder: Path, pattern: str, *, wanted: str) -> Path:
    """The one file that a client left. Raises SourceError for none or several."""
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise SourceError(f"wanted {wanted}, but the client left {len(files)} files {pattern}")
    return files[0]


def verify(file: Path, sha256: str | None) -> None:
    """Raise SourceError where a file is not the one that was pinned."""
    if sha256 is None:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise SourceError(
            f"{file.name} has SHA-256 {found}, wanted {sha256}: it is damaged or not the file "
            f"this version was made with. Nothing was kept; try again, or look at what serves it"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a wheel or a .tar.gz. Raises SourceError where it is damaged, or leads elsewhere."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(folder)
        else:
            with tarfile.open(archive) as members:
                # An archive may name files outside of its folder; the filter refuses those.
                members.extractall(folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceError(f"{archive.name} is not a readable archive: {error}") from error
