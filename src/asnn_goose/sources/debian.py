"""Debian packages and the descriptions of all of them, had with apt-get."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from asnn_goose.sources.cache import cache_dir, new_folder
from asnn_goose.sources.clients import OTHER_CACHE, only_file, require_program, run, scratch

_VERSION = "version"
_SYSTEM = "use Debian or Ubuntu"


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A package of the release that this machine's apt knows.

    The version is what apt offers: point releases move, and the archive keeps no old ones.
    """

    package: str

    def fetch(self) -> Path:
        """Folder with the unpacked package, downloaded with apt-get on first use.

        Its version stands in the file `version` beside what was packed. Root is needed only where
        the package lists are missing and must be updated first. Raises SourceError where apt-get
        or dpkg-deb is missing or fails.
        """
        folder, wanted = cache_dir() / "debian" / self.package, f"the Debian package {self.package}"
        if not (folder / _VERSION).is_file():
            for program in ("apt-get", "dpkg-deb"):
                require_program(program, wanted=wanted, instead=_SYSTEM)
            with new_folder(folder, replace=True) as fresh, scratch() as downloads:
                _apt_download(self.package, downloads, wanted=wanted)
                package = only_file(downloads, "*.deb", wanted=wanted)
                run(
                    ["dpkg-deb", "-x", str(package), str(fresh)],
                    wanted=f"to unpack {wanted}",
                    remedy="nothing was kept; check the space left on the disk, then try again",
                )
                # apt names the file NAME_VERSION_ARCHITECTURE.deb, the version's colon as %3a.
                version = unquote(package.stem.split("_")[1])
                (fresh / _VERSION).write_text(version, "utf-8")
        return folder

    def found_version(self) -> str:
        """The version in the cache, fetched on first use."""
        return (self.fetch() / _VERSION).read_text("utf-8")


@dataclass(frozen=True, slots=True)
class AptDescriptions:
    """The English descriptions of all packages that apt knows."""

    def fetch(self) -> Path:
        """Folder with the index files as apt names them, *_Translation-en."""
        folder = cache_dir() / "debian" / "descriptions-en"
        if not folder.is_dir():
            require_program("apt-get", wanted="the descriptions of packages", instead=_SYSTEM)
            with new_folder(folder) as fresh, scratch() as lists:
                _update(lists)
                files = sorted(lists.glob("*_Translation-en"))
                for file in files:
                    (fresh / file.name).write_bytes(file.read_bytes())
                (fresh / _VERSION).write_text(_digest(files), "utf-8")
        return folder

    def found_version(self) -> str:
        """A hash of the files: the index has no version of its own."""
        return (self.fetch() / _VERSION).read_text("utf-8")


def _apt_download(name: str, downloads: Path, *, wanted: str) -> None:
    command = ["apt-get", "download", "-qq", name]
    if subprocess.run(command, cwd=downloads, capture_output=True, check=False).returncode == 0:
        return
    if _is_root():
        # Missing package lists are the usual cause; whatever else is wrong shows on the next try.
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
    run(
        command,
        wanted=wanted,
        remedy="check the network, and run apt-get update as root if the package lists are "
        f"missing or old. {OTHER_CACHE}",
        folder=downloads,
    )


def _update(lists: Path) -> None:
    """Fill a folder of our own with apt's lists: neither root nor the system's are needed."""
    (lists / "partial").mkdir()
    settings = {
        "Dir::State::lists": str(lists),
        "Dir::Cache": str(lists / "cache"),
        "Acquire::Languages": "en",
        "Acquire::GzipIndexes": "false",
        "APT::Sandbox::User": "",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    run(
        ["apt-get", "update", "-qq", *options],
        wanted="the descriptions of packages",
        remedy=f"check the network. {OTHER_CACHE}",
    )


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
