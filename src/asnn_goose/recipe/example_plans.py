"""From the examples that a stage names to what it reads of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from accelerate import Accelerator

from asnn_goose.data.document import Split
from asnn_goose.data.example_batches import Cut, ExampleLoader
from asnn_goose.data.example_sets import ExampleSets, fingerprint
from asnn_goose.data.pair_batches import PairLoader
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.train.plan import Loader
from asnn_goose.train.reference import Reference
from asnn_goose.train.stages import STAGES
from asnn_goose.train.stages.gkd import Samples


@dataclass(frozen=True, kw_only=True)
class ExamplePlanner:
    """Loaders of examples, by one tokenizer.

    tell  hears what a window is too short for
    """

    recipe: Recipe
    sets: ExampleSets
    accelerator: Accelerator
    tell: Callable[[str], None]

    def loader(
        self, table: StageTable, *, seed: int, split: Split, batches: int, name: str = ""
    ) -> Loader:
        """What a stage reads of a split; `name` is said with what its window cuts off.

        batches  micro-batches of a process: of pairs no more are read, for each costs a reference

        Raises DataError for examples that cannot be read.
        """
        settings = {
            "window": table.window,
            "batch": table.batch,
            "seed": seed,
            "padding": self.sets.padding,
            "rank": self.accelerator.process_index,
            "world": self.accelerator.num_processes,
        }
        found: ExampleLoader | PairLoader
        reads = STAGES[table.kind].reads
        if reads == "pairs":
            most = batches * table.batch * self.accelerator.num_processes
            found = PairLoader(self.sets.pairs(table.examples, split), most=most, **settings)
        else:
            examples = self.sets.examples(table.examples, split)
            found = ExampleLoader(examples, alone=reads == "prompts", **settings)
        if name:
            self.tell(f"{name}: {told(found.cut, pairs=reads == 'pairs')}")
        return found

    def reference(self, table: StageTable, *loaders: object) -> Reference | None:
        """What the loaders of a stage on pairs must know before its first step."""
        pairs = [loader for loader in loaders if isinstance(loader, PairLoader)]
        if not pairs:
            return None
        precision = self.recipe.train.precision
        return Reference(pairs, batch=max(1, table.batch), precision=precision)

    def samples(self, table: StageTable) -> Samples | None:
        """What the student draws, where it does."""
        if table.samples is None:
            return None
        sets = self.sets
        own = table.samples.model_dump()
        return Samples(window=table.window, ends=sets.ends, padding=sets.padding, **own)

    def identity(self) -> Iterator[tuple[str, str]]:
        """What a resumed run must have read: a hash of each stage's examples."""
        for index, table in enumerate(self.recipe.stage):
            if STAGES[table.kind].reads == "pairs":
                pairs = self.sets.pairs(table.examples, "train")
                sides = (side for pair in pairs for side in (pair.chosen, pair.rejected))
                yield f"examples of stage.{index}", fingerprint(sides)
            elif table.examples:
                examples = self.sets.examples(table.examples, "train")
                yield f"examples of stage.{index}", fingerprint(examples)


def told(cut: Cut, *, pairs: bool) -> str:
    """How many examples there are, and what is cut off them."""
    count = f"{cut.examples // 2:,} pairs" if pairs else f"{cut.examples:,} examples"
    whole = "all within the window" if not cut.tokens_lost else str(cut)
    return f"{count}, {cut.tokens:,} tokens; {whole}"
