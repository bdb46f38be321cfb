from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from asnn_goose.study.processes import Exited, Process, carry_out


def job(tmp_path: Path, name: str, script: str) -> Process:
    command = (sys.executable, "-S", "-c", script)
    return Process(name=name, command=command, log=tmp_path / f"{name}.log")


def ended(jobs: list[Process], workers: int = 2) -> dict[str, int]:
    found: list[Exited] = []
    carry_out(jobs, workers=workers, on_end=found.append)
    return {one.job.name: one.code for one in found}


def test_a_job_that_fails_stops_no_other(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "bad", "raise SystemExit(3)"), job(tmp_path, "good", "print('done')")]
    assert ended(jobs) == {"bad": 3, "good": 0}
    assert (tmp_path / "good.log").read_text() == "done\n"


def test_every_process_has_one_thread(tmp_path: Path) -> None:
    ended([job(tmp_path, "a", "import os; print(os.environ['OMP_NUM_THREADS'])")])
    assert (tmp_path / "a.log").read_text() == "1\n"


def test_so_many_at_a_time(tmp_path: Path) -> None:
    stamp = "import time; a = time.time(); time.sleep(0.3); print(a, time.time())"
    jobs = [job(tmp_path, str(number), stamp) for number in range(3)]
    ended(jobs, workers=2)
    spans = [[*map(float, one.log.read_text().split())] for one in jobs]
    at_once = [sum(a <= start < b for a, b in spans) for start, _ in spans]
    assert max(at_once) == 2


def test_stopping_asks_those_under_way_to_end_and_starts_no_other(tmp_path: Path) -> None:
    tidy = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('saved')))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    jobs = [job(tmp_path, "long", tidy), job(tmp_path, "later", "print(1)")]
    log, found = jobs[0].log, list[Exited]()
    began = time.monotonic()
    carry_out(
        jobs,
        workers=1,
        on_end=found.append,
        stopped=lambda: log.exists() and "up" in log.read_text(),
    )
    assert time.monotonic() - began < 30
    assert log.read_text() == "up\nsaved\n"
    assert not jobs[1].log.exists()
    assert found == []


OUTLIVED = """
import sys
from pathlib import Path
from asnn_goose.study.processes import Process, carry_out
job = "import sys, time; from asnn_goose.study.cell import follow; follow(0); " \
      "print('up', flush=True); time.sleep(60)"
log = Path(sys.argv[1])
one = Process(name="one", command=(sys.executable, "-c", job), log=log)
carry_out([one], workers=1, on_end=print)
"""


def test_a_cell_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", OUTLIVED, str(log)]) as starting:
        while not (log.exists() and "up" in log.read_text()):
            time.sleep(0.05)
        children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children").read_text().split()
        starting.kill()
    assert len(children) == 1
    end = time.monotonic() + 20
    while Path(f"/proc/{children[0]}").exists():
        assert time.monotonic() < end, "the cell runs on alone"
        time.sleep(0.05)


def test_no_worker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers = 0"):
        ended([job(tmp_path, "a", "")], workers=0)
