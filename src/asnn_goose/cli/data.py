"""`asnn-goose data`: the texts that have a name, and what of them is ready."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose.cli.examples import examples
from asnn_goose.cli.expected_errors import expected_errors

if TYPE_CHECKING:
    from rich.status import Status

    from asnn_goose.data.corpora import Corpus
    from asnn_goose.data.document import Split
    from asnn_goose.data.shards import ShardMeta

EXAMPLES = examples("asnn-goose data show", "asnn-goose data fetch sotu austen")

app = typer.Typer(no_args_is_help=True, help="Show or fetch texts.")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Corpora; all without a name.")
]


@app.command(epilog=examples("asnn-goose data show", "asnn-goose data show sotu"))
@expected_errors()
def show(names: Names = None) -> None:
    """Licence, source, splits and size of each corpus; tokens for splits already tokenised."""
    from rich.console import Console
    from rich.table import Table

    table = Table("corpus", "split", box=None, pad_edge=False)
    for heading in ("documents", "MB", "tokens", "tokenizer"):
        table.add_column(heading, justify="right")
    for corpus in chosen(names):
        metas = tokenised(corpus)
        for split in splits_of(corpus):
            for row in split_rows(split, metas):
                table.add_row(corpus.name, *row)
    Console().print(table)
    for corpus in chosen(names):
        typer.echo(
            f"\n{corpus.name}: {corpus.source}."
            f"\n  Licence {corpus.licence}; split by {corpus.group}."
        )


@app.command(
    epilog=examples(
        "asnn-goose data fetch", "asnn-goose data fetch sotu austen --teacher smollm2-135m"
    )
)
@expected_errors()
def fetch(
    names: Names = None,
    teacher: Annotated[
        str, typer.Option(help="Whose tokenizer to cut the texts with.")
    ] = "smollm2-135m",
) -> None:
    """Download corpora once and tokenise every split; later runs need no network for them."""
    from rich.console import Console

    from asnn_goose.data.shards import shard
    from asnn_goose.subject.torch_model import load_tokenizer

    wanted = [(corpus, split) for corpus in chosen(names) for split in splits_of(corpus)]
    tokenizer = load_tokenizer(teacher)
    console = Console(stderr=True)
    with console.status("") as status:
        for corpus, split in wanted:
            told = partial(tell, status, f"{corpus.name} {split}")
            meta = shard(corpus.name, split, tokenizer, progress=told).meta
            typer.echo(f"{meta.name} {split}: {meta.documents:,} documents, {meta.tokens:,} tokens")


def tell(status: Status, label: str, documents: int, tokens: int) -> None:
    """Redraw the line that shows how far tokenising is."""
    status.update(f"{label}: {documents:,} documents, {tokens:,} tokens")


def chosen(names: list[str] | None) -> list[Corpus]:
    """The corpora with these names, or all. Raises DataError for an unknown name."""
    from asnn_goose.data.corpora import CORPORA, find_corpus
    from asnn_goose.data.document import DataError

    found = [(name, find_corpus(name)) for name in names or CORPORA]
    for name, corpus in found:
        if corpus is None:
            raise DataError(f"{name!r} is a file: files need no fetching; name one in a recipe")
    return [corpus for _, corpus in found if corpus is not None]


def splits_of(corpus: Corpus) -> tuple[Split, ...]:
    """The splits that a corpus has."""
    return ("test",) if corpus.only_evaluated else ("train", "validation", "test")


def split_rows(split: str, metas: list[ShardMeta]) -> list[tuple[str, ...]]:
    """One row per tokenizer that cut this split, or one that says it is not there yet."""
    return [
        (split, f"{m.documents:,}", f"{m.bytes / 1e6:.2f}", f"{m.tokens:,}", m.tokenizer[:8])
        for m in metas
        if m.split == split
    ] or [(split, "", "", "not tokenised", "")]


def tokenised(corpus: Corpus) -> list[ShardMeta]:
    """What the cache holds of this version of a corpus, tokenised."""
    from asnn_goose.data.shards import ShardMeta
    from asnn_goose.sources import cache_dir

    metas = []
    for file in sorted((cache_dir() / "shards").glob(f"{corpus.name}-*/meta.json")):
        meta = ShardMeta(**json.loads(file.read_text(encoding="utf-8")))
        if (meta.name, meta.version) == (corpus.name, corpus.version):
            metas.append(meta)
    return metas
