"""Every engine runs the same jobs to the same numbers as a plain run does, to the last bit."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from failing import failing
from mmcl_bench.core.compute import THREAD_VARIABLES, threads_each
from mmcl_bench.core.errors import UserError
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import Stored
from mmcl_bench.running.engines import ENGINES, Assignment, Outcome, attempt
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, run_job

KINDS = {
    "local, in this process": ("local", 1, {}),
    "local, two processes": ("local", 2, {}),
    "slurm, its local executor": ("slurm", 2, {"cluster": "local"}),
    "slurm, its debug executor": ("slurm", None, {"cluster": "debug"}),
    "ray, a local cluster of two workers": ("ray", 2, {"cpus": "1"}),
}
NEEDS = {"slurm": "submitit", "ray": "ray"}


def job(task: str, method: str, seed: int = 0, limit: int | None = None, **overrides: str) -> Job:
    return make_job(load_task(task), METHODS.get(method), seed, overrides=overrides, limit=limit)


SHORT = {"epochs": "1", "min_steps": "0", "streams": "joint", "n_frames": "8"}
JOBS = [
    job("supervised/nw-ucla[split=x-sub]", "logistic", limit=40),
    job("zero-shot/nw-ucla[split=8/2]", "devise-joints"),
    job("supervised/nw-ucla[split=x-sub]", "skeleton-only", seed=1, limit=40, **SHORT),
    job("supervised/nw-ucla[split=x-sub]", "chance", seed=2),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the last bit may follow the number of threads; what jobs that run here set is set back."""
    variables, threads = {name: os.environ.get(name) for name in THREAD_VARIABLES}, torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def plain(toy_data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    where = RunSite(toy_data_root, tmp_path_factory.mktemp("plain"))
    return [run_job(job, where)[0] for job in JOBS]


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path / "results")


def deaf(place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    assert 0 <= place < len(JOBS)


def assignments(where: RunSite) -> list[Assignment]:
    return [Assignment(job, where, threads=1) for job in JOBS]


@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_gives_the_numbers_of_a_plain_run(
    kind: str, where: RunSite, plain: list[Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, workers, options = KINDS[kind]
    # Ray's workers have the lowest priority by default, so that they wait for the tests beside this one.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    # SLURM's local executor starts a process for each job, which imports for seconds: two kinds of training will do.
    chosen = slice(1, 3) if options == {"cluster": "local"} else slice(None)
    with closing(ENGINES.get(name)(workers, options).run(assignments(where)[chosen], deaf)) as running:
        outcomes = dict(running)
    assert outcomes == dict.fromkeys(range(len(JOBS[chosen])), Outcome("new"))
    for wanted, expected in zip(JOBS[chosen], plain[chosen], strict=True):
        stored = Stored.open(where.results_root / "jobs" / wanted.folder)
        assert stored is not None
        np.testing.assert_array_equal(stored.scores, expected.scores)
        assert stored.result.metrics == expected.result.metrics
        assert stored.result.selection == expected.result.selection
        assert stored.result.history == expected.result.history
        assert stored.result.provenance.threads == 1


def test_every_engine_is_in_the_contract() -> None:
    assert {name for name, _, _ in KINDS.values()} == set(ENGINES.names())


def test_progress_of_other_processes_is_heard_and_a_killed_one_loses_its_job_alone(where: RunSite) -> None:
    on_progress: list[int] = []
    wanted = [job("supervised/nw-ucla[split=x-sub]", "skeleton-only", seed, 40, **SHORT) for seed in range(3)]

    def kill_one(place: int, phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if not on_progress:
            multiprocessing.active_children()[0].kill()
        on_progress.append(place)

    given = [Assignment(each, where, threads=1) for each in wanted]
    with closing(ENGINES.get("local")(2).run(given, kill_one)) as running:
        outcomes = dict(running)
    assert sorted(outcome.state for outcome in outcomes.values()) == ["lost", "new", "new"]
    (lost,) = (outcome for outcome in outcomes.values() if outcome.state == "lost")
    assert "was killed (SIGKILL)" in lost.error
    assert on_progress
    assert not multiprocessing.active_children()
    assert attempt(given[next(place for place in outcomes if outcomes[place] is lost)]).state == "new"


def test_closing_an_engine_stops_its_processes(where: RunSite) -> None:
    endless = job("supervised/nw-ucla[split=x-sub]", "skeleton-only", 0, **{**SHORT, "epochs": "1000000"})
    given = [Assignment(endless, where), Assignment(JOBS[3], where)]
    with closing(ENGINES.get("local")(2).run(given, deaf)) as running:
        place, outcome = next(running)
    assert (place, outcome.state) == (1, "new")
    assert not multiprocessing.active_children()


def test_an_assignment_travels_without_its_progress(where: RunSite) -> None:
    here = RunSite(where.data_root, where.results_root, progress=lambda *_: None)
    there = pickle.loads(pickle.dumps(Assignment(JOBS[0], here, threads=2)))  # noqa: S301 - our own bytes
    assert (there.job.hash, there.where, there.threads) == (JOBS[0].hash, where, 2)


def test_a_fresh_job_that_is_queued_again_goes_on_and_does_not_take_the_former_result(where: RunSite) -> None:
    slurm = pytest.importorskip("mmcl_bench.running.engines.slurm")
    pytest.importorskip("submitit")
    stored, _ = run_job(JOBS[3], where)
    queued = slurm._Resumable().checkpoint(Assignment(JOBS[3], where, fresh=True))
    assert queued.args[0].fresh is False
    again, is_new = run_job(queued.args[0].job, where, queued.args[0].fresh)
    assert is_new
    assert (again.scores == stored.scores).all()


def test_what_cannot_travel_ends_the_run_instead_of_waiting_for_ever(where: RunSite) -> None:
    strange = RunSite(where.data_root, where.results_root, scalars=lambda: None)  # type: ignore[arg-type]
    running = ENGINES.get("local")(2).run([Assignment(JOBS[3], strange)] * 2, deaf)
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"), closing(running):
        list(running)


def test_whatever_a_job_raises_is_its_outcome(where: RunSite) -> None:
    with failing(0, 1, 2, error=MemoryError()):
        wanted = job("supervised/nw-ucla[split=x-sub]", "failing")
        assert attempt(Assignment(wanted, where)) == Outcome("failed", "MemoryError")
    with failing(0, error=OSError(28, "No space left on device", "/there")):
        assert attempt(Assignment(wanted, where)) == Outcome("full", "/there")
    with failing(0, error=KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        attempt(Assignment(wanted, where))


def test_what_a_job_says_in_the_log_comes_with_its_outcome(where: RunSite) -> None:
    stored, _ = run_job(JOBS[3], where)
    (stored.folder / "result.json").write_text("{")
    outcome = attempt(Assignment(JOBS[3], where))
    assert outcome.state == "new"
    assert any("result.json is damaged" in notice for notice in outcome.notices)


def test_cores_are_shared_out_unless_the_user_has_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcl_bench.core.compute.usable_cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_each(workers) for workers in (1, 5, 99)] == [12, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads_each(5) == 3


def test_a_job_of_this_process_keeps_to_a_quota(where: RunSite, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int | None] = []
    monkeypatch.setattr("mmcl_bench.running.engines.local.attempt", lambda each, _: given.append(each.threads))
    monkeypatch.setattr("mmcl_bench.running.engines.local.threads_alone", lambda: 3)
    list(ENGINES.get("local")(1).run([Assignment(JOBS[3], where), Assignment(JOBS[3], where, threads=2)], deaf))
    assert given == [3, 2]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("local", {"partition": "gpu"}, "engine local: unknown option 'partition'"),
        ("slurm", {"partitoin": "gpu"}, "engine slurm: unknown option 'partitoin'. Did you mean partition"),
        ("slurm", {"cluster": "moon"}, "cluster=moon: expected slurm, local, debug"),
        ("slurm", {"cpus": "many"}, "--engine-option cpus=many: expected a whole number"),
        ("ray", {"cpus": "0"}, "--engine-option cpus=0: expected a whole number, 1 or more"),
    ],
)
def test_wrong_options_are_one_line(name: str, options: dict[str, str], message: str, where: RunSite) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    with pytest.raises(UserError, match=message):
        list(ENGINES.get(name)(2, options).run(assignments(where), deaf))


@pytest.mark.skipif(shutil.which("srun") is not None, reason="this machine has SLURM")
def test_a_machine_without_slurm_is_named(where: RunSite) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="no SLURM on this machine"):
        list(ENGINES.get("slurm")().run(assignments(where), deaf))


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_extra_is_named(name: str, where: RunSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, NEEDS[name], None)
    with pytest.raises(UserError, match=rf"pip install 'mmcl-bench\[{name}\]'"):
        list(ENGINES.get(name)().run(assignments(where), deaf))
