"""Both fits at once end with the numbers of one after the other, however they are stopped."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from multiprocessing import active_children
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from rich.console import Console
from rich.live import Live

import torch_threads
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.methods.skeleton_only import SkeletonOnly
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import Context, FitReport, Problem
from mmcl_bench.results.store import Stored
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, run_job
from small_backbone import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")

TASK = "zero-shot/nw-ucla[split=8/2]"
SHORT = {"epochs": "5", "min_steps": "0", "n_frames": "8", "backbone": SMALL}
TOGETHER = "final-ahead"


def job(**overrides: str) -> Job:
    return make_job(load_task(TASK), METHODS.get("skeleton-only"), 0, overrides=SHORT | overrides)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A block that ends with as many threads, and without a second process."""
    with torch_threads.threads(count):
        yield
        assert torch.get_num_threads() == count
        assert not active_children()


def numbers(stored: Stored) -> tuple[object, ...]:
    """What a fit leaves; scores have the last digits of all threads."""
    result = stored.result
    weights = [(stored.folder / name).read_bytes() for name in sorted(result.files) if "model" in name]
    assert weights
    return result.selection, result.history, result.oracle and result.oracle.epochs_tried, weights


@pytest.fixture(scope="module")
def in_turn(toy_data_root: Path, tmp_path_factory: pytest.TempPathFactory, small_backbone: None) -> tuple[object, ...]:
    where = RunSite(toy_data_root, tmp_path_factory.mktemp("in-turn"))
    with threads(1):
        return numbers(run_job(job(), where)[0])


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path)


def watched(where: RunSite, watch: object) -> RunSite:
    def progress(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        watch(phase, done, total)  # type: ignore[operator]

    return RunSite(where.data_root, where.results_root, progress=progress)


@pytest.mark.parametrize("count", [2, 3])
def test_both_fits_at_once_give_the_numbers_of_one_after_the_other(
    where: RunSite, in_turn: tuple[object, ...], count: int
) -> None:
    together: list[bool] = []

    def watch(phase: str, done: int, total: int) -> None:
        if phase == "selection: training":
            together.append(bool(active_children()) and next(where.results_root.rglob(TOGETHER), None) is not None)

    with threads(count):
        assert numbers(run_job(job(), watched(where, watch))[0]) == in_turn
    assert any(together)


def test_a_fit_has_half_of_the_threads(
    where: RunSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fit, seen = METHODS.get("skeleton-only").fit, where.results_root / "threads"

    def noting(self: Method, problem: Problem, context: Context) -> FitReport:
        with seen.open("a") as file:
            file.write(f"{context.folder.name} {torch.get_num_threads()}\n")
        return fit(self, problem, context)  # type: ignore[arg-type]

    monkeypatch.setattr(METHODS.get("skeleton-only"), "fit", noting)
    with threads(4):
        stored, _ = run_job(job(), where)
    assert set(seen.read_text().splitlines()) == {"selection 2", "final-ahead 2", "final 2"}
    assert "threads" not in stored.result.notes
    assert not caplog.text


@pytest.mark.parametrize("resumed_with", [1, 2])
@pytest.mark.parametrize("stopped_in", ["selection: training", "final: training", "scoring"])
def test_stopped_anywhere_it_goes_on(
    where: RunSite, in_turn: tuple[object, ...], stopped_in: str, resumed_with: int
) -> None:
    def stop(phase: str, done: int, total: int) -> None:
        if phase == stopped_in and (done > total // 2 or phase == "scoring"):
            raise KeyboardInterrupt

    with threads(2):
        try:
            run_job(job(), watched(where, stop))
        except KeyboardInterrupt:
            pass
        else:
            assert stopped_in == "final: training", "it may have ended before it was looked at"
    with threads(resumed_with):
        stored, _ = run_job(job(), where)
    assert numbers(stored) == in_turn
    assert "threads" not in stored.result.notes, "either fit had one all the time"


def test_a_killed_process_costs_time_alone(
    where: RunSite, in_turn: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []

    def kill(phase: str, done: int, total: int) -> None:
        if phase == "selection: training" and not killed:
            (child,) = active_children()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child.pid)

    with threads(2):
        assert numbers(run_job(job(), watched(where, kill))[0]) == in_turn
    assert killed
    assert "ended early (exit code -9)" in caplog.text


def test_without_a_process_the_fits_train_in_turn(
    where: RunSite, in_turn: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fork() -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", fork)
    with threads(2):
        assert numbers(run_job(job(), where)[0]) == in_turn
    assert "no process can be started" in caplog.text


def test_scalars_change_no_number(where: RunSite, in_turn: tuple[object, ...]) -> None:
    with threads(2):
        assert numbers(run_job(job(), replace(where, scalars=where.results_root / "scalars"))[0]) == in_turn
    assert list((where.results_root / "scalars").rglob("final/events*"))


def test_a_fit_beside_the_display_says_nothing_and_hangs_nowhere(
    where: RunSite, in_turn: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fit, parent = METHODS.get("skeleton-only").fit, os.getpid()

    def warning(self: Method, problem: Problem, context: Context) -> FitReport:
        if os.getpid() != parent:
            logging.getLogger("mmcl_bench").error("from the child")
            warnings.warn("from the child", stacklevel=1)
            print("from the child", file=sys.stderr, flush=True)
            os.write(2, b"from the child")
        return fit(self, problem, context)  # type: ignore[arg-type]

    monkeypatch.setattr(METHODS.get("skeleton-only"), "fit", warning)
    with threads(2), Live(refresh_per_second=200, console=Console(force_terminal=True, file=StringIO())):
        assert numbers(run_job(job(), where)[0]) == in_turn
    assert "from the child" not in "".join(capfd.readouterr())


class ChoosesMore(SkeletonOnly):
    name: ClassVar[str] = "chooses-more"

    def fit(self, problem: Problem, context: Context) -> FitReport:
        report = super().fit(problem, context)
        report.chosen["rate"] = 1.0
        return report


def test_a_method_that_chooses_more_than_epochs_is_refused(where: RunSite) -> None:
    METHODS.register("chooses-more")(ChoosesMore)
    try:
        more = make_job(load_task(TASK), ChoosesMore, 0, overrides=SHORT)
        with threads(1):
            run_job(more, RunSite(where.data_root, where.results_root / "in-turn"))
        with threads(2), pytest.raises(ValueError, match="chooses-more chose more than epochs"):
            run_job(more, where)
    finally:
        METHODS.unregister("chooses-more")


@pytest.mark.parametrize(("settings", "n_clips"), [({"epochs": "40"}, 1000), ({"min_steps": "400"}, 300)])
def test_a_training_that_keeps_some_epochs_only_waits_for_the_choice(settings: dict[str, str], n_clips: int) -> None:
    wanted = job(**settings)
    assert not METHODS.get("skeleton-only")(**wanted.settings).may_begin_before_choice(n_clips)
    assert METHODS.get("skeleton-only")(**job().settings).may_begin_before_choice(n_clips)
    assert not METHODS.get("rgb-fusion")(**SHORT).may_begin_before_choice(n_clips)


def test_an_error_of_the_final_fit_is_met_here(where: RunSite, monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS.get("skeleton-only")
    fit = method.fit

    def failing(self: Method, problem: Problem, context: Context) -> FitReport:
        if problem.validation is None:
            raise RuntimeError("no final fit")
        return fit(self, problem, context)  # type: ignore[arg-type]

    monkeypatch.setattr(method, "fit", failing)
    with threads(2), pytest.raises(RuntimeError, match="no final fit"):
        run_job(job(), where)
