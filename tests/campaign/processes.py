"""Two processes train what one does on the same batches: many steps of every kind of stage.

    python -m tests.campaign.processes [--steps 50] [--only KIND ...] [--double]

Prints a row a kind: the largest difference of any weight, relative to the largest of its tensor,
with the student whole and in parts; and that of a checkpoint half-way, which two have written in
parts and one reads, weights and moments. The exit code is 1 where one is beyond BOUND.
--double computes in fp64: where rounding tips spikes and codes over, fp32 drifts apart by itself,
and only so can be told from a fault.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file
from tests.campaign.inputs import write_inputs
from tests.train import jobs
from tests.train.crew import Crew
from torch import Tensor

from asnn_goose.study.smoke import STAGES
from asnn_goose.train import checkpoint
from asnn_goose.train.sharded_stage import ALONE

BOUND = 1e-5
KINDS = (*STAGES, *jobs.MEASURED)
IN_PARTS = frozenset(STAGES) - ALONE - {"dpo"}


def keeping(
    tell: Callable[[str], None], folder: Path, kinds: dict[bool, list[str]], **how: Any
) -> int:
    """A member of a crew that trains all kinds; every checkpoint stays."""
    with mock.patch.object(checkpoint, "prune"):
        return jobs.train_stages(tell, folder, kinds, 1, minutes=0.0, **how)


def largest(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Of all tensors' differences; infinite where one of them is missing."""
    if found.keys() != wanted.keys():
        return float("inf")
    return max(jobs.relative(found[name], tensor) for name, tensor in wanted.items())


def of_models(one: Path, other: Path) -> float:
    file = Path("model") / "model.safetensors"
    return largest(load_file(one / file), load_file(other / file))


def of_checkpoints(one: Path, other: Path, *, step: int) -> float:
    """Of weights and moments that this one process reads in two runs."""
    snapshots = [checkpoint.read(out / "checkpoints" / f"step-{step:08}") for out in (one, other)]
    moments = ({k: x for k, x in s.optimiser.items() if "exp_avg" in k} for s in snapshots)
    model = largest(*(snapshot.model for snapshot in snapshots))
    return max(model, largest(*moments))


def rows(folder: Path, kinds: Iterable[str], *, steps: int, double: bool) -> Iterator[list[float]]:
    """Of each kind: the student whole, in parts, and a checkpoint in parts."""
    for kind in kinds:
        shards = (False, True) if kind in IN_PARTS else (False,)
        how: dict[str, Any] = {"steps": steps, "double": double}
        with mock.patch.object(checkpoint, "prune"):
            jobs.run_kind(folder, kind, folder / kind, 2, shard=False, minutes=0.0, **how)
        crew = Crew(keeping, folder, {shard: [kind] for shard in shards}, **how)
        if crew.codes(seconds=3600) != [0, 0]:
            raise SystemExit(f"{kind}: {crew.told}")
        found = [of_models(folder / f"{kind}-{shard}", folder / kind) for shard in shards]
        if len(shards) > 1:
            parts = folder / f"{kind}-True"
            found.append(of_checkpoints(parts, folder / kind, step=steps // 2))
        yield found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--double", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sound = True
    with tempfile.TemporaryDirectory(prefix="goose-processes-") as place:
        os.environ["ASNN_GOOSE_CACHE"] = f"{place}/cache"
        write_inputs(Path(place))
        print(f"{'kind':18}{'whole':>10}{'in parts':>10}{'checkpoint':>12}")
        found = rows(Path(place), asked.only, steps=asked.steps, double=asked.double)
        for kind, errors in zip(asked.only, found, strict=True):
            sound &= max(errors) <= BOUND
            cells = [f"{error:.1e}" for error in errors] + ["-"] * (3 - len(errors))
            print(f"{kind:18}{cells[0]:>10}{cells[1]:>10}{cells[2]:>12}", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
