"""A blow to a command, the command again, and what is wrong then."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.campaign import children, shim
from tests.campaign.blows import KINDS, Blow, last_words
from tests.campaign.commands import COMMANDS, READ_ONLY, Command
from tests.campaign.inputs import write_inputs
from tests.campaign.tree import contents, differences

ENDS_IN_S = 20
"""What a killed command has started must have ended by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A command that nothing happened to: what it left, how long it took, calls by kind of blow."""

    left: dict[str, str]
    seconds: float
    calls: Mapping[str, int]


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

    def start(
        self,
        words: list[str],
        *,
        settings: Mapping[str, str] | None = None,
        **hooks: Callable[[], object],
    ) -> children.Child:
        """A command under way in `work`; what was said before is forgotten."""
        self.log.write_text("")
        own = self.settings | dict(settings or {})
        return children.start(words, work=self.work, log=self.log, settings=own, **hooks)

    def undisturbed(self, command: Command) -> Undisturbed:
        """What the command leaves and takes, found once."""
        if command.name not in self._undisturbed:
            command.prepare(self.work, given=self.given)
            note = self.work.with_name("calls")

            def count() -> None:
                seen = {name: shim.seen(kind.calls) for name, kind in KINDS.items()}
                note.write_text(json.dumps(seen))

            began = time.monotonic()
            child = self.start(
                command.line(self.work, given=self.given),
                before=partial(shim.arm, self.work, kinds=shim.ALL, first=sys.maxsize),
                after=count,
            )
            if code := child.wait():
                raise SystemExit(f"{command.name} alone ended with {code}:\n{child.said()}")
            self._undisturbed[command.name] = Undisturbed(
                left=contents(self.work),
                seconds=time.monotonic() - began,
                calls=json.loads(note.read_text()),
            )
        return self._undisturbed[command.name]

    def trial(self, command: Command, blow: Blow) -> list[str]:
        """One blow and what is wrong after it, a line each."""
        sound = self.undisturbed(command)
        command.prepare(self.work, given=self.given)
        first = sys.maxsize if blow.by_clock else int(blow.share * sound.calls[blow.name])
        kind = blow.kind
        arm = partial(shim.arm, first=first, times=kind.times, error=kind.error, number=kind.number)
        child = self.start(
            command.line(self.work, given=self.given),
            before=partial(arm, self.work, kinds=kind.calls),
        )
        if blow.by_clock:
            _send(child, blow, after=blow.share * sound.seconds)
        found = [*kind.unfit(child.wait(), child.said())]
        # At once: what a killed command has started may still be there.
        return [*found, *self.again(command, may_miss=bool(kind.error))]

    def again(self, command: Command, *, may_miss: bool) -> Iterator[str]:
        """Call a command once more; yields what is not as after an undisturbed one."""
        sound = self._undisturbed[command.name]
        child = self.start(command.line(self.work, given=self.given))
        if code := child.wait():
            yield f"called again it ended with {code}: {last_words(child.said())}"
        missed = f"missing: {command.optional}" if may_miss and command.optional else "-"
        found = differences(sound.left, contents(self.work))
        yield from (line for line in found if not line.startswith(missed))
        yield from self._still_running()

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
