"""Packages of the npm registry, downloaded with npm and never installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asnn_goose.sources.cache import cache_dir
from asnn_goose.sources.clients import OTHER_CACHE, Pinned, only_file, require_program, run


@dataclass(frozen=True, slots=True)
class NpmPackage(Pinned):
    """One pinned package, whose scripts are not run."""

    def home(self) -> Path:
        """In the folder of its registry."""
        return cache_dir() / "npm" / f"{self.package.replace('/', '+')}-{self.version}"

    def download(self, folder: Path) -> Path:
        """With npm."""
        name = f"{self.package}@{self.version}"
        wanted = f"the npm package {name}"
        require_program("npm", wanted=wanted, instead="install Node.js")
        run(
            ["npm", "pack", name, "--ignore-scripts", "--silent"],
            wanted=wanted,
            remedy=f"check the network. {OTHER_CACHE}",
            folder=folder,
        )
        return only_file(folder, "*.tgz", wanted=wanted)
