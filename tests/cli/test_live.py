"""What a run shows while it runs: bars that fit a terminal, elsewhere a line a minute."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from rich.text import Text

from mmcl_bench.cli.live import LiveProgress
from mmcl_bench.running.engines import Outcome

if TYPE_CHECKING:
    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.jobs import Job

LONG = "transfer/msr-action3d-and-utkinect-to-utd-mhad@2[classes=shared], mmcl[backbone=hd-gcn], seed 0"
LOSSES = {"epoch": 3.0, "loss": 0.25, "l_cls": 0.125}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def some_jobs(count: int) -> list[Job]:
    return cast("list[Job]", list(range(count)))


def named(job: Job) -> str:
    return LONG if cast("int", job) == 0 else "devise, seed 1"


def two_phases(live: LiveProgress, clock: Clock) -> None:
    """Ten steps of 30 s, then four of 6 s."""
    for done in range(1, 11):
        live.on_progress(0, "selection: training", done, 10, LOSSES)
        clock.now += 30
    for done in range(1, 5):
        live.on_progress(0, "final: training", done, 4, LOSSES | {"validation": 0.5})
        clock.now += 6


def test_elsewhere_there_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with LiveProgress(named, lambda jobs: [f"runs {len(jobs)} jobs"], clock) as live:
        live.on_start(some_jobs(2))
        two_phases(live, clock)
        live.on_end(0, Outcome("new"))
    first, *minutes, last = capsys.readouterr().err.splitlines()
    assert first == "runs 2 jobs"
    assert minutes[0] == f"0 of 2 jobs done; {LONG}, selection: training: 3 of 10; about 4 min left; loss 0.250"
    # The rate is that of the phase: of 3 steps two are counted, which took 60 s.
    assert len(minutes) == 5
    assert minutes[-1] == f"0 of 2 jobs done; {LONG}, final: training: 1 of 4; validation 0.500"
    assert last == f"{LONG}: done in 5 min (1 of 2)"


def test_one_job_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with LiveProgress(named, clock=clock) as live:
        live.on_start(some_jobs(1))
        two_phases(live, clock)
        live.on_end(0, Outcome("new"))
    *minutes, last = capsys.readouterr().err.splitlines()
    assert minutes[0].startswith(f"{LONG}, selection: training: 3 of 10;")
    assert last == f"{LONG}: done in 5 min"


@pytest.mark.parametrize("width", [80, 120])
def test_bars_fit_the_terminal_and_start_anew_with_each_phase(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    clock = Clock()
    frames: list[str] = []
    with LiveProgress(named, clock=clock) as live:
        live.on_start(some_jobs(2))
        for at, (phase, done, seconds) in enumerate(
            [("selection: training", 0, 0), ("selection: training", 5, 50), ("final: training", 0, 60)]
        ):
            clock.now = seconds
            live.on_progress(0, phase, done, 10, LOSSES)
            live._progress.refresh()
            frames.append(Text.from_ansi(capsys.readouterr().err).plain)
            assert (at == 1) == ("50 s left" in frames[-1])
        live.on_end(0, Outcome("new"))
        live._progress.refresh()
        frames.append(Text.from_ansi(capsys.readouterr().err).plain)
    lines = [line for frame in frames for line in frame.splitlines()]
    assert all(len(line) <= width for line in lines)
    assert any("selection: training" in line and "5/10" in line and "loss 0.250" in line for line in lines)
    assert any("all jobs" in line and "1/2" in line for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_run_says_first_ends_its_lines_between_words(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    said = "runs 2 jobs on cpu with 2 threads; no similar job was timed, but a few hundred clips take seconds for pgfa"
    with LiveProgress(named, lambda jobs: [f"{said}, chance"]) as live:
        live.on_start(some_jobs(1))
    lines = Text.from_ansi(capsys.readouterr().err).plain.splitlines()
    assert all(len(line) <= width for line in lines)
    assert " ".join(" ".join(lines).split()).startswith(f"{said}, chance")


def test_jobs_that_are_found_stored_count_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stored = cast("Stored", SimpleNamespace(folder="results/jobs/x"))
    with LiveProgress(named) as live:
        live.on_start(some_jobs(2))
        live.on_stored(some_jobs(2)[0], stored)
        live.on_end(1, Outcome("new"))
        (every,) = live._progress.tasks
    assert (every.completed, every.total) == (2, 2)
