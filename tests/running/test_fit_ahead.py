"""Both fits at once end with the numbers of one after the other, however they are stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import Stored
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, run_job
from small_backbone import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")

TOGETHER = "final-ahead"


def job(**overrides: str) -> Job:
    short = {"epochs": "5", "min_steps": "0", "n_frames": "8", "backbone": SMALL}
    task = load_task("zero-shot/nw-ucla[split=8/2]")
    return make_job(task, METHODS.get("skeleton-only"), 0, overrides=short | overrides)


@contextmanager
def threads(count: int) -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
        assert torch.get_num_threads() == count
        assert not active_children()
    finally:
        torch.set_num_threads(usual)


def numbers(stored: Stored) -> tuple[object, ...]:
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


def test_a_fit_has_half_of_the_threads(where: RunSite) -> None:
    seen: set[int] = set()
    with threads(4):
        run_job(job(), watched(where, lambda phase, *_: seen.add(torch.get_num_threads()) if "train" in phase else 0))
    assert seen == {2}


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
        assert numbers(run_job(job(), where)[0]) == in_turn


def test_a_killed_process_costs_time_alone(where: RunSite, in_turn: tuple[object, ...]) -> None:
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


def test_an_error_of_the_final_fit_is_met_here(where: RunSite, monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS.get("skeleton-only")
    fit = method.fit

    def failing(self: object, problem: object, context: object) -> object:
        if problem.validation is None:  # type: ignore[attr-defined]
            raise RuntimeError("no final fit")
        return fit(self, problem, context)  # type: ignore[arg-type]

    monkeypatch.setattr(method, "fit", failing)
    with threads(2), pytest.raises(RuntimeError, match="no final fit"):
        run_job(job(), where)
