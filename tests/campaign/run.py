"""Kill commands at random instants or let calls fail, call them again, compare with a calm run.

    python -m tests.campaign.run [--count 30] [--seed 0] [--only NAME ...] [--blows NAME ...]

A signal comes at a moment of the clock, or at the n-th call that changes a file; an error from the
n-th call on. What counts then: the command ends with a message and no traceback; called again as
its user would, it leaves every file, name and byte but for times, that an undisturbed one leaves;
nothing is left over, and no process runs on. Or the same command begins a second time while it is
under way: one of the two goes on, the other too or it says why not. With --log each trial is a row
of a file, which is continued where it is there already: number, seed, command, blow, when, what
it met, seconds, processor seconds, and "sound" or what was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import tests.campaign.corpora  # noqa: F401 - for `data fetch`
from tests.campaign import children
from tests.campaign.blows import KINDS, Blow
from tests.campaign.commands import COMMANDS
from tests.campaign.trials import Campaign, CampaignError, Verdict, place


def carry_out(options: argparse.Namespace, folder: Path) -> int:
    """The trials that the log does not hold yet; returns how many went wrong."""
    children.preload()
    names, blows = options.only or list(COMMANDS), options.blows or list(KINDS)
    weights = [COMMANDS[name].weight for name in names]
    done = options.log.read_text().splitlines() if options.log and options.log.exists() else []
    campaign, wrong = Campaign(folder), sum(not row.endswith("\tsound") for row in done)
    campaign.make_inputs(only=names)
    for number in range(len(done), options.count):
        chance = random.Random(f"{options.seed} {number}")
        (name,) = chance.choices(names, weights)
        blow, began, spent = Blow.drawn(chance, blows), time.monotonic(), cpu_seconds()
        try:
            verdict = campaign.trial(COMMANDS[name], blow)
        except CampaignError as error:
            verdict = Verdict(met="nothing yet", wrong=[str(error)])
        took = f"{time.monotonic() - began:.1f}", f"{cpu_seconds() - spent:.1f}"
        said = "; ".join(verdict.wrong) or "sound"
        happened = (name, blow.name, blow.when, verdict.met, *took, said)
        row = "\t".join(" ".join(str(cell).split()) for cell in (number, options.seed, *happened))
        print(row, flush=True)
        if options.log:
            with options.log.open("a") as log:
                log.write(row + "\n")
        wrong += bool(verdict.wrong)
    return wrong


def cpu_seconds() -> float:
    """What this process and those that have ended took, of whatever else the machine does."""
    return sum(os.times()[:4])


def main() -> int:
    """Exit code 1 where a trial went wrong."""
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS))
    parser.add_argument("--blows", nargs="+", choices=list(KINDS))
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goose-campaign-", dir=place()) as own:
        wrong = carry_out(options, Path(own))
    print(f"{options.count - wrong} of {options.count} sound")
    return bool(wrong)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="goose-shim-") as built:
        children.with_shim(Path(built))
    sys.exit(main())
