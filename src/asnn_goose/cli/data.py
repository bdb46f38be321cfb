"""`asnn-goose data`: the texts that have a name, and what of them is ready."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from asnn_goose.cli.verbs import add

if TYPE_CHECKING:
    from rich.table import Table

    from asnn_goose.data.corpora import Corpus
    from asnn_goose.data.shards import ShardMeta

EXAMPLES = ("asnn-goose data show", "asnn-goose data fetch broad")

app = typer.Typer(no_args_is_help=True, help="Show or fetch texts.")

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Corpora, or broad; all without a name."),
]


def show(names: Names = None) -> None:
    """Kind, size, tokens, share in the mixture `broad` and licence of each corpus.

    Below stand the sets of instructions made of them. For corpora that are named also source,
    version and splits. Nothing is fetched.
    """
    from rich.console import Console

    from asnn_goose.data.corpora import BROAD
    from asnn_goose.data.instructions import INSTRUCTIONS
    from asnn_goose.data.prepare import tokenised

    sets = [name for name in INSTRUCTIONS if names is None or name in names]
    rest = None if names is None else [name for name in names if name not in INSTRUCTIONS]
    corpora = [] if rest == [] else chosen(rest)
    metas = {corpus.name: tokenised(corpus) for corpus in corpora}
    if corpora:
        Console().print(overview(corpora, metas))
    for corpus in corpora:
        if names and corpus.name in names:
            typer.echo("\n".join(["", *details(corpus, metas[corpus.name])]))
    if names is None:
        typer.echo(f'\nA recipe trains on all that have a share with data.train = ["{BROAD}"].\n')
    if sets:
        Console().print(instruction_table(sets))


def instruction_table(names: list[str]) -> Table:
    """One row a built-in set of instructions, for a stage's `examples`."""
    from rich.table import Table

    from asnn_goose.data.instructions import INSTRUCTIONS

    table = Table("examples", "corpus", "what they are", "licence", box=None, pad_edge=False)
    for one in (INSTRUCTIONS[name] for name in names):
        table.add_row(one.name, one.corpus, one.about, one.licence)
    return table


def fetch(
    names: Names = None,
    teacher: Annotated[
        str, typer.Option(help="Whose tokenizer to cut the texts with.")
    ] = "smollm2-135m",
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Corpora worked on at once.  [default: one a processor]"),
    ] = None,
) -> None:
    """Download corpora once, clean and tokenise every split; later runs need no network for them.

    What is ready already is not done again, so a fetch that was interrupted goes on.
    """
    from asnn_goose.data.prepare import prepare, splits_of
    from asnn_goose.data.shards import tokenised_meta
    from asnn_goose.subject.torch_model import load_tokenizer

    corpora = chosen(names)
    tokenizer = load_tokenizer(teacher)

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    prepare([corpus.name for corpus in corpora], tokenizer, processes=processes, tell=tell)
    for corpus in corpora:
        for split in splits_of(corpus):
            if meta := tokenised_meta(corpus, split, tokenizer):
                counts = f"{meta.documents:,} documents, {meta.tokens:,} tokens"
                typer.echo(f"{meta.name} {split}: {counts}")


def chosen(names: list[str] | None) -> list[Corpus]:
    """The corpora with these names, each once, or all. Raises DataError for an unknown name."""
    from asnn_goose.data.corpora import CORPORA, find_corpus, mixture
    from asnn_goose.data.document import DataError

    wanted = [part for name in names or CORPORA for part in mixture([name])[0]]
    found = {name: find_corpus(name) for name in wanted}
    for name, corpus in found.items():
        if corpus is None:
            raise DataError(f"{name!r} is a file: files need no fetching; name one in a recipe")
    return [corpus for corpus in found.values() if corpus is not None]


def overview(corpora: list[Corpus], metas: dict[str, list[ShardMeta]]) -> Table:
    """One row a corpus; tokens are of the tokenizer that cut most of them."""
    from rich.table import Table

    from asnn_goose.data.corpora.kept_text import megabytes

    used = Counter(meta.tokenizer for found in metas.values() for meta in found)
    tokenizer = used.most_common(1)[0][0] if used else ""
    table = Table("corpus", "kind", box=None, pad_edge=False)
    for heading in ("MB", f"tokens ({tokenizer[:8]})" if used else "tokens", "broad %"):
        table.add_column(heading, justify="right")
    table.add_column("licence")
    for corpus in corpora:
        counts = [meta.tokens for meta in metas[corpus.name] if meta.tokenizer == tokenizer]
        tokens = f"{sum(counts):,}" if counts else "not tokenised"
        share = f"{corpus.broad:g}" if corpus.broad else ""
        table.add_row(corpus.name, corpus.kind, megabytes(corpus), tokens, share, corpus.licence)
    return table


def details(corpus: Corpus, metas: list[ShardMeta]) -> list[str]:
    """Source, version and splits of a corpus, a line each."""
    from asnn_goose.data.corpora.kept_text import known_text_meta

    known = known_text_meta(corpus)
    version = (
        "not fetched" if known is None else f"version {known.version}, SHA-256 {known.content}"
    )
    lines = [
        f"{corpus.name}: {corpus.source}.",
        f"  Licence {corpus.licence}; split by {corpus.group}; {version}.",
    ]
    for meta in metas:
        counts = f"{meta.documents:,} documents, {meta.bytes / 1e6:.2f} MB, {meta.tokens:,} tokens"
        lines.append(f"  {meta.split}: {counts} ({meta.tokenizer[:8]})")
    return lines


add(app, "show", show, ("asnn-goose data show", "asnn-goose data show sotu broad"))
add(
    app,
    "fetch",
    fetch,
    ("asnn-goose data fetch broad", "asnn-goose data fetch sotu austen --teacher smollm2-135m"),
)
