"""A blow to a command, the command again, and what is wrong then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.campaign import children, shim
from tests.campaign.blows import ERRORS, KINDS, SIGNALS, TWICE, Blow, last_words
from tests.campaign.commands import COMMANDS, READ_ONLY, Command
from tests.campaign.inputs import write_inputs
from tests.campaign.tree import contents, differences, lost_steps

ENDS_IN_S = 20
"""What a killed command has started must have ended by then."""

IN_MEMORY, ROOM = Path("/dev/shm"), 1 << 30


def place() -> Path | None:
    """Where trials are quick: a disk in memory, if there is room. None is the system's choice."""
    there = IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)
    return IN_MEMORY if there and shutil.disk_usage(IN_MEMORY).free > ROOM else None


class CampaignError(RuntimeError):
    """A command does not work, or not twice alike, where nothing happens to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A command that nothing happened to: what it left, how long it took, calls by kind of blow."""

    left: dict[str, str]
    seconds: float
    calls: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a blow met, and what was wrong after it, a line each."""

    met: str
    wrong: list[str]


class Campaign:
    """Trials in one folder."""

    def __init__(self, folder: Path) -> None:
        self.given, self.work = folder / "inputs", folder / "work"
        self.log, self.note = folder / "said.log", folder / "note"
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
            raise CampaignError(f"{' '.join(words)} ended with {code}: {child.said()}")

    def start(
        self,
        words: list[str],
        *,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
        **hooks: Callable[[], object],
    ) -> children.Child:
        """A command under way in `work`; what was said before is forgotten."""
        log = log or self.log
        log.write_text("")
        own = self.settings | dict(settings or {})
        return children.start(words, work=self.work, log=log, settings=own, **hooks)

    def undisturbed(self, command: Command) -> Undisturbed:
        """What the command leaves and takes, found once: the first time only to see its imports.

        Raises CampaignError where it does not work, or leaves something else each time.
        """
        if command.name not in self._undisturbed:
            first, second = self._calm(command), self._calm(command)
            if wrong := differences(first.left, second.left):
                raise CampaignError(f"{command.name} leaves something else each time: {wrong}")
            self._undisturbed[command.name] = second
        return self._undisturbed[command.name]

    def _calm(self, command: Command) -> Undisturbed:
        command.prepare(self.work, given=self.given)

        def count() -> None:
            seen = {name: shim.seen(kind.calls) for name, kind in KINDS.items()}
            self.note.write_text(json.dumps({"calls": seen, "modules": list(sys.modules)}))

        began = time.monotonic()
        child = self.start(
            command.line(self.work, given=self.given),
            before=partial(shim.arm, self.work, kinds=shim.ALL, first=sys.maxsize),
            after=count,
        )
        if code := child.wait():
            raise CampaignError(f"{command.name} alone ended with {code}: {child.said()}")
        seconds, seen = time.monotonic() - began, json.loads(self.note.read_text())
        children.preload(seen["modules"])
        return Undisturbed(left=contents(self.work), seconds=seconds, calls=seen["calls"])

    def trial(self, command: Command, blow: Blow) -> Verdict:
        """One blow, and the command again unless it has left all that it should."""
        sound = self.undisturbed(command)
        command.prepare(self.work, given=self.given)
        self.note.unlink(missing_ok=True)
        ended, wrong = (self._two if blow.name == TWICE else self._hit)(command, blow, sound)
        met = self.note.read_text(errors="replace") if self.note.exists() else ""
        if blow.name in SIGNALS and not ended and command.words[0] == "distill":
            wrong += lost_steps(self.work / "run")
        # At once: what a killed command has started may still be there.
        if not ended or self._differences(command):
            wrong += self.again(command, may_miss=blow.name in ERRORS)
        else:
            wrong += self._still_running()
        return Verdict(met=met or "it had ended" * ended, wrong=wrong)

    def _hit(self, command: Command, blow: Blow, sound: Undisturbed) -> tuple[bool, list[str]]:
        first = sys.maxsize if blow.by_clock else int(blow.share * sound.calls[blow.name])
        kind = blow.kind
        arm = partial(shim.arm, first=first, times=kind.times, error=kind.error, number=kind.number)
        child = self.start(
            command.line(self.work, given=self.given),
            before=partial(arm, self.work, kinds=kind.calls, note=self.note),
        )
        if blow.by_clock:
            _send(child, blow, after=blow.share * sound.seconds)
        code = child.wait()
        return code == 0, [*kind.unfit(code, child.said())]

    def _two(self, command: Command, blow: Blow, sound: Undisturbed) -> tuple[bool, list[str]]:
        first = self.start(command.line(self.work, given=self.given))
        time.sleep(blow.share * sound.seconds)
        line = command.line(self.work, given=self.given)
        second = self.start(line, log=self.log.with_name("second.log"))
        codes = [child.wait() for child in (first, second)]
        wrong = [
            one
            for code, child in zip(codes, (first, second), strict=True)
            for one in blow.kind.unfit(code, child.said())
        ]
        if 0 not in codes:
            wrong.append(f"neither went on: {last_words(first.said())}")
        self.note.write_text(f"{codes[0]} and {codes[1]}: {last_words(second.said())}")
        return 0 in codes, wrong

    def again(self, command: Command, *, may_miss: bool) -> list[str]:
        """Call a command once more; what is not as after an undisturbed one."""
        child, wrong = self.start(command.line(self.work, given=self.given)), []
        if code := child.wait():
            wrong.append(f"called again it ended with {code}: {last_words(child.said())}")
        missed = f"missing: {command.optional}" if may_miss and command.optional else "-"
        wrong += [line for line in self._differences(command) if not line.startswith(missed)]
        return [*wrong, *self._still_running()]

    def _differences(self, command: Command) -> list[str]:
        return differences(self._undisturbed[command.name].left, contents(self.work))

    def _still_running(self) -> Iterator[str]:
        end, mark = time.monotonic() + ENDS_IN_S, self.settings[children.MARK]
        while (found := children.left_running(mark)) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in found:
            yield f"process {pid} still runs"
            os.kill(pid, signal.SIGKILL)


def _send(child: children.Child, blow: Blow, *, after: float) -> None:
    time.sleep(after)
    for number in range(blow.kind.times):
        time.sleep(number * blow.pause)
        child.send(blow.kind.number)
