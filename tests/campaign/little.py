"""The campaign shrunk to one command: every kind of signal, two at once, and faults of the system.

    LD_PRELOAD=faults.so python -m tests.campaign.little FAULT ...

One program, for most of what it takes is the start of an interpreter. Prints a line of JSON for
every trial and every fault: its name, and what was wrong.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.campaign import children
from tests.campaign.blows import SIGNALS, TWICE, Blow
from tests.campaign.commands import COMMANDS
from tests.campaign.system_faults import FAULTS, wrong
from tests.campaign.trials import Campaign, place

COMMAND = COMMANDS["align"]


def outcomes(folder: Path, faults: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Names of trials and faults, and what was wrong."""
    campaign = Campaign(folder)
    campaign.make_inputs(only=[COMMAND.name])
    for name in (*SIGNALS, TWICE):
        blow = Blow.drawn(random.Random(name), [name])
        yield name, campaign.trial(COMMAND, blow).wrong
    for fault in FAULTS:
        if fault.name in faults:
            _, *found = wrong(campaign, fault, COMMANDS[fault.command])
            yield fault.name, found


if __name__ == "__main__":
    children.preload()
    with tempfile.TemporaryDirectory(prefix="goose-little-", dir=place()) as own:
        for name, found in outcomes(Path(own), sys.argv[1:]):
            print(json.dumps({"name": name, "wrong": found}), flush=True)
