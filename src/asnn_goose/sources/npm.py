"""Packages of the npm registry, downloaded with npm and never installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asnn_goose.sources.cache import cache_dir, new_folder
from asnn_goose.sources.clients import (
    OTHER_CACHE,
    only_file,
    require_program,
    run,
    scratch,
    untar,
    verify,
)


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """One pinned package."""

    package: str
    version: str
    sha256: str

    def fetch(self) -> Path:
        """The unpacked package."""
        return npm_package(self.package, self.version, self.sha256)

    def found_version(self) -> str:
        """The pinned version."""
        return self.version


def npm_package(name: str, version: str, sha256: str | None = None) -> Path:
    """Folder with the unpacked package `name` at `version`, downloaded with npm on first use.

    Its scripts are not run. Raises SourceError where npm is missing or fails, or on another
    SHA-256.
    """
    folder = cache_dir() / "npm" / f"{name.replace('/', '+')}-{version}"
    if not folder.is_dir():
        wanted = f"the npm package {name}@{version}"
        require_program("npm", wanted=wanted, instead="install Node.js")
        with new_folder(folder) as fresh, scratch() as downloads:
            run(
                ["npm", "pack", f"{name}@{version}", "--ignore-scripts", "--silent"],
                wanted=wanted,
                remedy=f"check the network. {OTHER_CACHE}",
                folder=downloads,
            )
            archive = only_file(downloads, "*.tgz", wanted=wanted)
            verify(archive, sha256)
            untar(archive, fresh)
    return folder
