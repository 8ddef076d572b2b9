"""What stands is taken, the rest is run, no failure stops the others, and nothing is done twice."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from filelock import FileLock

from failing import failing
from mmcl_bench.core.errors import UserError
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import SCORES, Stored
from mmcl_bench.running.coordinating import PlanResult, run_plan
from mmcl_bench.running.engines import Assignment, Engine, OnProgress, Outcome
from mmcl_bench.running.engines.local import Local
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.planning import State, plan
from mmcl_bench.running.runner import RunSite
from mmcl_bench.running.work_folder import FAILURE


class Witness:
    """Remembers what a run said."""

    def __init__(self) -> None:
        self.begun: list[Job] = []
        self.stood: list[Job] = []
        self.outcomes: list[Outcome] = []

    def on_start(self, jobs: Sequence[Job]) -> None:
        self.begun = list(jobs)

    def on_stored(self, job: Job, stored: Stored) -> None:
        self.stood.append(job)

    def on_progress(self, place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        assert 0 <= place < len(self.begun)

    def on_end(self, place: int, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def jobs(method: str = "chance", seeds: int = 3) -> list[Job]:
    task = load_task("supervised/nw-ucla[split=x-sub]")
    return [make_job(task, METHODS.get(method), seed) for seed in range(seeds)]


def run_all(wanted: Sequence[Job], where: RunSite, **options: bool) -> tuple[PlanResult, Witness]:
    witness = Witness()
    return run_plan(plan(wanted, where), where, Local(), witness, **options), witness


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path / "results")


def test_what_stands_is_taken_and_the_rest_is_run_in_the_order_of_the_plan(where: RunSite) -> None:
    wanted = jobs()
    run_all(wanted[1:2], where)
    ran, witness = run_all(wanted, where)
    assert witness.stood == wanted[1:2]
    assert witness.begun == [wanted[0], wanted[2]]
    assert [stored.result.seed for stored in ran.stored] == [0, 1, 2]
    assert ran.failures == []


def test_a_failure_does_not_stop_the_others_and_waits_for_being_asked_again(where: RunSite) -> None:
    with failing(1):
        wanted = jobs("failing")
        ran, witness = run_all(wanted, where)
        assert [outcome.state for outcome in witness.outcomes] == ["new", "failed", "new"]
        assert [(job.seed, why) for job, why in ran.failures] == [(1, "ValueError: the third layer is missing")]
        left = json.loads((where.results_root / "jobs" / wanted[1].folder / FAILURE).read_text())
        assert (left["kind"], left["error"]) == ("ValueError", "ValueError: the third layer is missing")
        assert "in fit" in left["traceback"]

        ran, witness = run_all(wanted, where)
        assert witness.outcomes == []
        assert [stored.result.seed for stored in ran.stored] == [0, 2]
        assert "--retry-failed: ValueError" in ran.failures[0][1]

        ran, witness = run_all(wanted, where, retry_failed=True)
        assert [outcome.state for outcome in witness.outcomes] == ["new"]
        assert ran.failures == []
        assert not (where.results_root / "jobs" / wanted[1].folder / FAILURE).exists()
        assert {each.state for each in plan(wanted, where)} == {State.DONE}


def test_fresh_runs_all_again_whatever_stands(where: RunSite) -> None:
    with failing(0):
        wanted = jobs("failing", seeds=2)
        run_all(wanted, where)
        ran, witness = run_all(wanted, where, fresh=True)
    assert [outcome.state for outcome in witness.outcomes] == ["new", "new"]
    assert len(ran.stored) == 2


def test_data_that_are_not_prepared_are_a_failure_of_their_jobs_alone(where: RunSite) -> None:
    bare = make_job(load_task("supervised/utkinect"), METHODS.get("chance"), 0)
    wanted = [bare, *jobs(seeds=1)]
    for fresh in (False, True):
        ran, _ = run_all(wanted, where, fresh=fresh)
        assert len(ran.stored) == 1
        assert "mmcl-bench data prepare utkinect" in ran.failures[0][1]
    with pytest.raises(UserError, match="mmcl-bench data prepare utkinect"):
        run_all([bare], where)


def test_fresh_without_the_data_fails_that_job_alone(where: RunSite, tmp_path: Path) -> None:
    of_utd = make_job(load_task("supervised/utd-mhad"), METHODS.get("chance"), 0)
    wanted = [of_utd, *jobs(seeds=1)]
    run_all(wanted, where)
    shutil.copytree(where.data_root / "nw-ucla", tmp_path / "data" / "nw-ucla")
    ran, _ = run_all(wanted, replace(where, data_root=tmp_path / "data"), fresh=True)
    assert len(ran.stored) == len(ran.failures) == 1


def test_a_damaged_score_file_of_a_done_job_is_named_and_made_again(
    where: RunSite, caplog: pytest.LogCaptureFixture
) -> None:
    before = run_all(jobs(), where)[0].stored[1]
    scores, path = before.scores, before.folder / SCORES
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        ran, witness = run_all(jobs(), where)
    assert f"{before.folder}: {SCORES} is damaged (sha256 differs)" in caplog.text
    assert [job.seed for job in witness.begun] == [1]
    np.testing.assert_array_equal(ran.stored[1].scores, scores)


class Scripted(Engine):
    """Says that each job ended in a given way."""

    name: ClassVar[str] = "scripted"

    def __init__(self, *states: str) -> None:
        super().__init__()
        self._states = states

    def run(self, assignments: Sequence[Assignment], on_progress: OnProgress) -> Generator[tuple[int, Outcome]]:
        for place, state in zip(range(len(assignments)), self._states, strict=False):
            yield place, Outcome(state, "here")  # type: ignore[arg-type]


def test_a_full_disk_stops_the_run(where: RunSite) -> None:
    witness = Witness()
    with pytest.raises(OSError, match="No space left on device: 'here'") as error:
        run_plan(plan(jobs(), where), where, Scripted("full", "new", "new"), witness)
    assert error.value.errno == errno.ENOSPC


def test_a_lost_job_is_named_and_left_for_the_next_run(where: RunSite) -> None:
    ran = run_plan(plan(jobs(seeds=1), where), where, Scripted("lost"), Witness())
    assert [why for _, why in ran.failures] == ["here"]
    assert run_all(jobs(seeds=1), where)[0].failures == []


def test_a_result_that_is_gone_when_it_is_read_is_named(where: RunSite) -> None:
    ran = run_plan(plan(jobs(seeds=1), where), where, Scripted("new"), Witness())
    assert "run the same command once more" in ran.failures[0][1]


@pytest.mark.parametrize(
    ("at_once", "order"),
    [(1, ["a0", "a1", "b0", "b1", "c0", "c1"]), (2, ["a0", "b0", "a1", "b1", "c0", "c1"])]
    + [(some, ["a0", "b0", "c0", "a1", "b1", "c1"]) for some in (3, None)],
)
def test_jobs_that_share_an_extractor_do_not_start_together_where_others_can(
    at_once: int | None, order: list[str], where: RunSite
) -> None:
    seeds = {name: seed for seed, name in enumerate("abc")}
    task, methods = load_task("supervised/nw-ucla[split=x-sub]"), (METHODS.get("chance"), METHODS.get("logistic"))
    wanted = {
        f"{name}{turn}": make_job(task, method, seed)
        for name, seed in seeds.items()
        for turn, method in enumerate(methods)
    }
    engine, witness = Scripted(*["lost"] * len(wanted)), Witness()
    engine.workers = at_once
    run_plan(plan(list(wanted.values()), where), where, engine, witness)
    names = {job.hash: name for name, job in wanted.items()}
    assert [names[job.hash] for job in witness.begun] == order


def test_a_job_that_another_runner_has_is_waited_for_at_the_end(where: RunSite) -> None:
    wanted = jobs()
    folder = where.results_root / "jobs"
    folder.mkdir(parents=True)
    lock = FileLock(folder / f".{wanted[0].folder}.lock")
    lock.acquire()
    order: list[int] = []

    class Other(Witness):
        def on_end(self, place: int, outcome: Outcome) -> None:
            super().on_end(place, outcome)
            order.append(place)
            if len(order) == 2:  # all but the one that the other runner has
                lock.release()

    watcher = Other()
    ran = run_plan(plan(wanted, where), where, Local(), watcher)
    assert order == [1, 2, 0]
    assert len(ran.stored) == 3


def test_two_runners_at_once_do_no_job_twice_and_lose_none(where: RunSite) -> None:
    with failing() as method, ThreadPoolExecutor(2) as pool:
        wanted = jobs("failing", seeds=8)
        both = list(pool.map(lambda _: run_all(wanted, where), range(2)))
        assert method.fits == len(wanted)
    for ran, _ in both:
        assert [stored.result.seed for stored in ran.stored] == list(range(8))
    new = [outcome for _, witness in both for outcome in witness.outcomes if outcome.state == "new"]
    assert len(new) == len(wanted)
