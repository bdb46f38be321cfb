"""Each fault of the system once: what a command says then, and that it goes on afterwards.

    python -m tests.campaign.system_faults [--only NAME ...]

Prints a line of JSON for every fault: its name, the exit code, what was said, and what was wrong.
"""

from __future__ import annotations

import argparse
import errno
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tests.campaign.corpora  # noqa: F401 - for `data fetch`
from tests.campaign import children, shim
from tests.campaign.broken_network import serving
from tests.campaign.commands import COMMANDS, Command
from tests.campaign.trials import Campaign, place

YEAR = 365 * 24 * 3600
SPARE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to which command, and words of what it says then.

    begin   arms the fault in the command's process, given the folder of the campaign
    ends    its exit code
    more    words behind the command's own
    network what an index does to packages
    """

    name: str
    command: str
    begin: Callable[[Path], object] = lambda folder: None
    says: tuple[str, ...]
    ends: int = 2
    more: tuple[str, ...] = ()
    network: str = ""


def failing(place: str, kinds: int, error: int, *, first: int = 0) -> Callable[[Path], object]:
    """Calls under a folder fail from number `first` on."""

    def begin(folder: Path) -> None:
        shim.arm(folder / place, kinds=kinds, first=first, times=shim.FOR_EVER, error=error)

    return begin


def little_memory(folder: Path) -> None:
    """No more than what is there and some."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


OWN_CACHE = "set ASNN_GOOSE_CACHE to a folder that can be written"
LARGE = ("--set", "stage.0.batch=4096", "--set", "stage.0.tokens=1M", "--set", "stage.0.window=64")
FETCHING = ("wanted the package campaign_text==1.0 from PyPI", "check the network")
FULL, ROOM = "No space left on device", "MB are free"

FAULTS = (
    Fault(
        name="no space for a run",
        command="align",
        begin=failing("work/run", shim.WRITES, errno.ENOSPC),
        says=(f"work/run cannot be written: {FULL}",),
    ),
    Fault(
        name="no space for a checkpoint",
        command="align",
        begin=failing("work/run/checkpoints", shim.WRITES, errno.ENOSPC, first=1),
        says=(FULL, ROOM, "training goes on", "there is no earlier one"),
    ),
    Fault(
        name="no space for the model",
        command="align",
        begin=failing("work/run/.model", shim.WRITES, errno.ENOSPC, first=3),
        says=(FULL, "the last checkpoint is good: make room and resume it"),
    ),
    Fault(
        name="no space in the cache",
        command="align",
        begin=failing("work/cache", shim.WRITES, errno.ENOSPC, first=5),
        says=(FULL, "Free some space", OWN_CACHE),
    ),
    Fault(
        name="quota",
        command="teacher-write",
        begin=failing("work/.own.jsonl.part", shim.WRITES, errno.EDQUOT, first=2),
        says=("Disk quota exceeded", "what is written is kept: resume it"),
    ),
    Fault(
        name="read-only run folder",
        command="align",
        begin=failing("work/run", shim.CHANGES, errno.EROFS),
        says=("work/run", "Read-only file system"),
    ),
    Fault(
        name="read-only cache",
        command="align",
        begin=failing("work/cache", shim.CHANGES, errno.EROFS),
        says=("Read-only file system", OWN_CACHE),
    ),
    Fault(
        name="a teacher that cannot be read",
        command="align",
        begin=failing("inputs/teacher/config.json", shim.READS, errno.EIO),
        says=("Input/output error", "config.json"),
    ),
    Fault(
        name="a disk that does not take a checkpoint",
        command="align",
        begin=failing("work/run/checkpoints", shim.SYNCS, errno.EIO),
        says=("Input/output error", "training goes on", "there is no earlier one"),
    ),
    Fault(
        name="a clock that jumps",
        command="align",
        begin=lambda folder: shim.shift_clock(-YEAR),
        says=("the student is in",),
        ends=0,
    ),
    Fault(
        name="little memory",
        command="align",
        begin=little_memory,
        more=LARGE,
        says=("out of memory", "ulimit -v", "a smaller batch"),
    ),
    Fault(name="a network that hangs", command="data-fetch", network="hangs", says=FETCHING),
    Fault(name="a network that breaks", command="data-fetch", network="breaks", says=FETCHING),
)


def wrong(campaign: Campaign, fault: Fault, command: Command) -> Iterator[str]:
    """Let it happen; yields what was said first, then what was wrong, a line each."""
    campaign.undisturbed(command)
    command.prepare(campaign.work, given=campaign.given)
    words = command.line(campaign.work, given=campaign.given)
    folder = campaign.work.parent
    with ExitStack() as stack:
        wheel = next((campaign.given / "wheels").iterdir())
        more = stack.enter_context(serving(wheel, fault.network)) if fault.network else {}
        child = campaign.start(
            [*words, *fault.more], settings=more, before=partial(fault.begin, folder)
        )
        code = child.wait()
    said = " ".join(child.said().split())
    yield said
    if code != fault.ends:
        yield f"exit code {code}, not {fault.ends}"
    if "Traceback" in said:
        yield "a traceback"
    yield from (f"does not say {text!r}" for text in fault.says if text not in said)
    if not fault.more:  # with other words another run has begun
        yield from campaign.again(command, may_miss=bool(fault.ends))


def main() -> int:
    """Exit code 1 where a fault was not met well."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    chosen = [fault for fault in FAULTS if fault.name in parser.parse_args().only]
    children.preload()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="goose-faults-", dir=place()) as own:
        campaign = Campaign(Path(own))
        campaign.make_inputs(only=[fault.command for fault in chosen])
        for fault in chosen:
            said, *faults = wrong(campaign, fault, COMMANDS[fault.command])
            print(json.dumps({"name": fault.name, "said": said, "wrong": faults}), flush=True)
            bad += bool(faults)
    return bool(bad)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="goose-shim-") as built:
        children.with_shim(Path(built))
    sys.exit(main())
