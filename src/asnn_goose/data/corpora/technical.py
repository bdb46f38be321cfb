"""Manuals: of systems, languages and programs."""

from __future__ import annotations

from functools import partial

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.readers.html_pages import read_html
from asnn_goose.data.readers.manuals import read_manual_pages, read_pod
from asnn_goose.sources import DebianPackage

_Manual = partial(Corpus, kind="technical", group="page")

TECHNICAL = (
    _Manual(
        name="linux_doc",
        licence="GPL 2",
        source="Debian linux-doc-6.1: documentation of the Linux kernel",
        packages=(DebianPackage("linux-doc-6.1"),),
        place="usr/share/doc/linux-doc-6.1/html",
        read=partial(read_html, pattern="**/*.html", skip=r"^translations/|^genindex|^search"),
        megabytes=18.7,
        broad=2.5,
    ),
    _Manual(
        name="python_doc",
        licence="PSF 2",
        source="Debian python3.11-doc: documentation of Python",
        packages=(DebianPackage("python3.11-doc"),),
        place="usr/share/doc/python3.11/html",
        read=partial(read_html, pattern="**/*.html", skip=r"^genindex|^py-modindex|^search"),
        megabytes=6.8,
        broad=2,
    ),
    _Manual(
        name="postgresql_doc",
        licence="PostgreSQL",
        source="Debian postgresql-doc-15: documentation of PostgreSQL",
        packages=(DebianPackage("postgresql-doc-15"),),
        place="usr/share/doc/postgresql-doc-15/html",
        read=partial(read_html, pattern="**/*.html", skip=r"^bookindex"),
        megabytes=5.3,
        broad=1,
    ),
    _Manual(
        name="sqlite_doc",
        licence="public domain",
        source="Debian sqlite3-doc: documentation of SQLite",
        packages=(DebianPackage("sqlite3-doc"),),
        place="usr/share/doc/sqlite3",
        read=partial(read_html, pattern="**/*.html"),
        megabytes=4.0,
        broad=1.5,
    ),
    _Manual(
        name="manpages",
        licence="GPL 2 or later, BSD, verbatim copying (by page)",
        source="Debian manpages, manpages-dev: manual pages of Linux",
        packages=(DebianPackage("manpages"), DebianPackage("manpages-dev")),
        place="usr/share/man",
        read=read_manual_pages,
        megabytes=4.4,
        broad=0.5,
    ),
    _Manual(
        name="perl_doc",
        licence="GPL 1 or later, or Artistic",
        source="Debian perl-doc: documentation of Perl, without its lists of changes",
        group="file",
        packages=(DebianPackage("perl-doc"),),
        place="usr/share/perl",
        read=partial(read_pod, pattern="**/*[!a].pod"),
        megabytes=3.2,
        broad=0.5,
    ),
    _Manual(
        name="debian_handbook",
        licence="GPL 2 or later, or CC BY-SA 3.0",
        source="Debian debian-handbook: The Debian Administrator's Handbook",
        packages=(DebianPackage("debian-handbook"),),
        place="usr/share/doc/debian-handbook/html/en-US",
        read=partial(read_html, pattern="*.html", skip=r"^ix01"),
        megabytes=1.0,
        broad=0.5,
    ),
    _Manual(
        name="libreoffice_help",
        licence="MPL 2.0",
        source="Debian libreoffice-help-en-us: help pages of LibreOffice",
        packages=(DebianPackage("libreoffice-help-en-us"),),
        place="usr/share/libreoffice/help/en-US/text",
        # Its steps are short: "Choose Format - Page Style and open the tab".
        read=partial(read_html, pattern="**/*.html", words=5),
        megabytes=3.0,
        broad=1,
    ),
    _Manual(
        name="mh_book",
        licence="GPL 2 or later",
        source="Debian mh-book: Peek, MH & nmh: Email for Users & Programmers",
        packages=(DebianPackage("mh-book"),),
        place="usr/share/doc/mh-book/html",
        read=partial(read_html, pattern="**/*.html", skip=r"^index/"),
        megabytes=1.2,
        broad=0.5,
    ),
)
