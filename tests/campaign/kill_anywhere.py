"""Kill commands at random instants, call them again, compare with an undisturbed run.

    python -m tests.campaign.kill_anywhere [--count 30] [--seed 0] [--only NAME ...] [--log FILE]

A signal comes at a moment of the clock, or at the n-th call that changes a file. What counts then:
the command is called again as its user would, and every file, name and byte but for times, is what
an undisturbed command leaves; nothing is left over, no process runs on, nobody sees a traceback.
Each trial is a row of the log; a log that is given again is continued.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.campaign import children, shim
from tests.campaign.commands import COMMANDS, READ_ONLY, Command
from tests.campaign.inputs import write_inputs
from tests.campaign.tree import contents, differences

CHANGES = shim.WRITES | shim.REMOVES
ENDS_IN_S = 20
"""What a killed command has started must have ended by then."""

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT INT": signal.SIGINT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A command that nothing happened to: what it left, how long it took, calls that it made."""

    left: dict[str, str]
    seconds: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """A signal, and when it comes: a share of the clock's time, or of the calls."""

    kind: str
    by_clock: bool
    share: float
    pause: float

    @classmethod
    def drawn(cls, chance: random.Random) -> Blow:
        """Any signal, at any time."""
        return cls(
            kind=chance.choice(list(SIGNALS)),
            by_clock=chance.random() < 0.4,
            share=chance.random(),
            pause=chance.random() * 0.2,
        )

    def __str__(self) -> str:
        where = "time" if self.by_clock else "calls"
        return f"{self.kind}\t{self.share:.1%} of its {where}"


class Campaign:
    """Trials in one folder."""

    def __init__(self, folder: Path) -> None:
        self.given, self.work = folder / "inputs", folder / "work"
        self.log = folder / "said.log"
        self.settings = {
            "ASNN_GOOSE_CACHE": str(self.work / "cache"),
            "TMPDIR": str(folder / "tmp"),
            "PIP_FIND_LINKS": str(self.given / "wheels"),
            children.MARK: str(folder),
        }
        (folder / "tmp").mkdir(exist_ok=True)
        self._undisturbed: dict[str, Undisturbed] = {}

    def make_inputs(self, *, only: Sequence[str]) -> None:
        """Teacher, text, recipes, and the students that the chosen commands read."""
        self.given.mkdir()
        write_inputs(self.given)
        words = [word for name in only for word in (*COMMANDS[name].words, COMMANDS[name].copied)]
        small = f"{self.given}/small.safetensors"
        restores = any("small.safetensors" in word for word in words)
        for name in READ_ONLY:
            if any(name in word for word in words) or (restores and name == "spiking"):
                recipe = f"{self.given}/{name}.toml"
                self.done(["distill", recipe, "--out", f"{self.given}/{name}", "--quiet"])
        if restores:
            self.done(["export", f"{self.given}/spiking", "--to", "compact", "--out", small])

    def done(self, words: list[str]) -> None:
        """Carry out what must succeed."""
        self.work.mkdir(exist_ok=True)
        child = self.start(words)
        if code := child.wait():
            raise SystemExit(f"{' '.join(words)} ended with {code}:\n{child.said()}")

    def start(self, words: list[str], **hooks: Callable[[], object]) -> children.Child:
        """A command under way in `work`; what was said before is forgotten."""
        self.log.write_text("")
        return children.start(words, work=self.work, log=self.log, settings=self.settings, **hooks)

    def undisturbed(self, command: Command) -> Undisturbed:
        """What the command leaves and takes, found once."""
        if command.name not in self._undisturbed:
            command.prepare(self.work, given=self.given)
            note = self.work.with_name("calls")
            began = time.monotonic()
            child = self.start(
                command.line(self.work, given=self.given),
                before=partial(shim.arm, self.work, kinds=CHANGES, first=sys.maxsize),
                after=lambda: note.write_text(str(shim.seen())),
            )
            if code := child.wait():
                raise SystemExit(f"{command.name} alone ended with {code}:\n{child.said()}")
            self._undisturbed[command.name] = Undisturbed(
                left=contents(self.work),
                seconds=time.monotonic() - began,
                calls=int(note.read_text()),
            )
        return self._undisturbed[command.name]

    def trial(self, command: Command, blow: Blow) -> list[str]:
        """One blow and what is wrong after it, a line each."""
        sound = self.undisturbed(command)
        command.prepare(self.work, given=self.given)
        return [*self._strike(command, blow, sound), *self._again(command, sound)]

    def _strike(self, command: Command, blow: Blow, sound: Undisturbed) -> Iterator[str]:
        number = SIGNALS[blow.kind]
        times = 2 if blow.kind == "INT INT" else 1
        first = sys.maxsize if blow.by_clock else int(blow.share * sound.calls)
        arm = partial(shim.arm, self.work, kinds=CHANGES, first=first, times=times, number=number)
        child = self.start(command.line(self.work, given=self.given), before=arm)
        if blow.by_clock:
            time.sleep(blow.share * sound.seconds)
            child.send(number)
            if times == 2:
                time.sleep(blow.pause)
                child.send(number)
        code = child.wait()
        if code not in (0, -number, 128 + number):
            yield f"exit code {code} after the signal: {_end(child.said())}"
        if "Traceback" in child.said():
            yield f"a traceback after the signal: {_end(child.said())}"

    def _again(self, command: Command, sound: Undisturbed) -> Iterator[str]:
        # At once: what a killed command has started may still be there.
        child = self.start(command.line(self.work, given=self.given))
        if code := child.wait():
            yield f"called again it ended with {code}: {_end(child.said())}"
        yield from differences(sound.left, contents(self.work))
        yield from self._still_running()

    def _still_running(self) -> Iterator[str]:
        end = time.monotonic() + ENDS_IN_S
        while (found := children.left_running(self.settings[children.MARK])) and (
            time.monotonic() < end
        ):
            time.sleep(0.05)
        for pid in found:
            yield f"process {pid} still runs"
            os.kill(pid, signal.SIGKILL)


def _end(said: str) -> str:
    return " | ".join(said.splitlines()[-3:])


def carry_out(options: argparse.Namespace, folder: Path) -> int:
    """The trials that the log does not hold yet; returns how many went wrong."""
    children.preload()
    names = options.only or list(COMMANDS)
    done = options.log.read_text().splitlines() if options.log and options.log.exists() else []
    campaign, wrong = Campaign(folder), sum("\tsound" not in row for row in done)
    campaign.make_inputs(only=names)
    for number in range(len(done), options.count):
        chance = random.Random(f"{options.seed} {number}")
        command, blow = COMMANDS[chance.choice(names)], Blow.drawn(chance)
        faults = campaign.trial(command, blow)
        row = f"{number}\t{command.name}\t{blow}\t{'; '.join(faults) or 'sound'}"
        print(row, flush=True)
        if options.log:
            with options.log.open("a") as log:
                log.write(row + "\n")
        wrong += bool(faults)
    return wrong


def main() -> int:
    """Exit code 1 where a trial went wrong."""
    plain = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS))
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goose-campaign-") as own:
        wrong = carry_out(options, Path(own))
    print(f"{options.count - wrong} of {options.count} sound")
    return bool(wrong)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="goose-shim-") as built:
        children.with_shim(Path(built))
    sys.exit(main())
