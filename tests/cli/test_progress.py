"""What a run looks like on a terminal and in a log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from asnn_goose.cli.progress import LiveSteps, MessagesOnly, StepLines, watcher
from asnn_goose.train.progress import StepInfo

INFO = StepInfo(
    stage="align",
    stage_index=0,
    stages=2,
    step=1,
    steps=100,
    run_step=1,
    tokens_seen=1_000,
    tokens_total=200_000,
    loss=0.25,
    terms={"attention_output": 0.25},
    lr=5e-4,
    grad_norm=1.0,
    tokens_per_s=1345.2,
    eta_s=3130.0,
    memory_bytes=1_200_000_000,
    seconds=2.0,
)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_line_has_loss_speed_memory_and_time_left(console: Console) -> None:
    StepLines(console).on_step(INFO)
    (line,) = printed(console)
    for part in ("align (1 of 2)", "1/100", "loss 0.2500", "1,345 tokens/s", "1.2 GB"):
        assert part in line
    assert "52 min 10 s left" in line
    assert "attention_output" not in line


def test_several_terms_are_named(console: Console) -> None:
    StepLines(console).on_step(replace(INFO, terms={"kl": 0.2, "cross_entropy": 0.05}))
    assert "loss 0.2500 (kl 0.2000, cross_entropy 0.0500)" in printed(console)[0]


def test_lines_come_every_twenty_seconds_and_at_edges(console: Console) -> None:
    now = 0.0
    lines = StepLines(console, clock=lambda: now)
    for step in range(1, 101):
        lines.on_step(replace(INFO, step=step))
        now += 1.0
    lines.on_step(replace(INFO, stage="distill", stage_index=1))
    steps = [line.split("  ")[0].split()[-1] for line in printed(console)]
    assert steps == ["1/100", "21/100", "41/100", "61/100", "81/100", "100/100", "1/100"]


def test_messages_are_printed_as_they_are(console: Console) -> None:
    text = "saved runs/demo/checkpoints/step-00000120 [bold] " + "x" * 90
    for view in (StepLines(console), MessagesOnly(console)):
        view.on_message(text)
    assert printed(console) == [text, text]


def test_quiet_shows_no_steps(console: Console) -> None:
    with watcher(console, quiet=True) as view:
        view.on_step(INFO)
        view.on_message("stopped")
    assert printed(console) == ["stopped"]


def test_a_log_gets_lines_and_a_terminal_a_bar(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with watcher(console, quiet=False) as view:
        assert isinstance(view, StepLines)
    terminal = Console(file=io.StringIO(), width=160, force_terminal=True)
    with watcher(terminal, quiet=False) as view:
        assert isinstance(view, LiveSteps)
        view.on_step(INFO)
        view.on_message("saved")
        view.on_step(replace(INFO, step=50, tokens_seen=100_000))
    shown = "\n".join(printed(terminal))
    assert "saved" in shown
    assert "50%" in shown
    assert "52 min 10 s left" in shown
