"""A plan tells where each job stands, from small files alone, and writes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import RESULT, SCORES, Stored
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.planning import Planned, State, plan, totals
from mmcl_bench.running.runner import ENVIRONMENT, RunSite, run_job
from mmcl_bench.running.validity import checkpoint_environment
from mmcl_bench.running.work_folder import FAILURE, record_failure
from toys import write_toy

SUPERVISED = "supervised/nw-ucla[split=x-sub]"


def job(seed: int = 0, method: str = "chance", task: str = SUPERVISED, **overrides: str) -> Job:
    return make_job(load_task(task), METHODS.get(method), seed, overrides=overrides)


def short(seed: int = 0) -> Job:
    return job(seed, "skeleton-only", epochs="3", min_steps="0", streams="joint", n_frames="8")


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path / "results")


def only(wanted: Job, where: RunSite) -> Planned:
    (planned,) = plan([wanted], where)
    return planned


def stopped(wanted: Job, where: RunSite) -> Path:
    """Its folder, after a run that was stopped in its second epoch."""

    def stop(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if phase == "final: training" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(wanted, replace(where, progress=stop))
    return where.results_root / "jobs" / wanted.folder


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_job_is_missing_until_it_is_done(where: RunSite) -> None:
    assert only(job(), where).state is State.MISSING
    assert not where.results_root.exists(), "a plan writes nothing"
    run_job(job(), where)
    done = only(job(), where)
    assert (done.state, done.seconds, done.why) == (State.DONE, 0.0, "")
    assert only(job(seed=1), where).state is State.MISSING


def test_a_stopped_job_is_partial_and_needs_less_time(where: RunSite) -> None:
    folder = stopped(short(), where)
    assert only(short(), where).state is State.PARTIAL
    run_job(short(seed=1), where)
    edit(where.results_root / "jobs" / short(1).folder / RESULT, lambda r: r["provenance"].update(wall_seconds=100.0))
    edit(folder / "work" / "clock.json", lambda clock: clock.update(seconds=30.0))
    assert only(short(), where).seconds == 70.0
    assert only(short(seed=2), where).seconds == 100.0


def test_checkpoints_of_another_torch_are_stale(where: RunSite) -> None:
    folder = stopped(short(), where)
    edit(folder / "work" / ENVIRONMENT, lambda environment: environment.update(torch="1.0"))
    planned = only(short(), where)
    assert planned.state is State.STALE
    assert "torch 1.0" in planned.why


def test_checkpoints_that_learned_from_another_encoder_are_stale(where: RunSite) -> None:
    settings = {"epochs": "3", "min_steps": "0", "streams": "joint", "n_frames": "8", "selection": "fixed"}
    wanted = job(0, "mmcl", "zero-shot/nw-ucla[split=8/2]", **settings)
    folder = stopped(wanted, where)
    assert only(wanted, where).state is State.PARTIAL
    edit(folder / "work" / ENVIRONMENT, lambda environment: environment.update({"weights of minilm": "0" * 12}))
    planned = only(wanted, where)
    assert planned.state is State.STALE
    assert "weights of minilm" in planned.why


def test_results_of_other_data_are_stale(where: RunSite, tmp_path: Path) -> None:
    run_job(job(), where)
    write_toy(tmp_path / "data", "nw-ucla", 10, 4, 3)
    planned = only(job(), replace(where, data_root=tmp_path / "data"))
    assert (planned.state, planned.why) == (State.STALE, "data of nw-ucla differ")


def test_results_of_another_device_are_stale_only_where_one_was_asked_for(where: RunSite) -> None:
    run_job(job(), where)
    asked = replace(where, device="cuda")
    assert only(job(), asked).why == "ran on cpu, asked for cuda"
    assert only(job(), replace(asked, any_device=True)).state is State.DONE


def test_results_of_another_version_of_the_method_or_the_facts_are_stale(where: RunSite) -> None:
    run_job(job(), where)
    newer = replace(job(), method_version=job().method_version + 1)
    assert only(newer, where).why == f"of version {job().method_version} of chance, here {newer.method_version}"
    edit(where.results_root / "jobs" / job().folder / RESULT, lambda result: result["job"].update(task_hash="0" * 64))
    moved = where.results_root / "jobs" / f"{job().folder[:-12]}{'0' * 12}"
    (where.results_root / "jobs" / job().folder).rename(moved)
    assert only(job(), where).why == "the facts or parameters behind supervised/nw-ucla@2[split=x-sub] changed"


def test_results_of_another_schema_are_stale(where: RunSite) -> None:
    run_job(job(), where)
    edit(where.results_root / "jobs" / job().folder / RESULT, lambda result: result.update(schema_version=0))
    planned = only(job(), where)
    assert (planned.state, planned.why) == (State.STALE, "of result schema 0, here 1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"schema_version": 1}', b"\xff\x00", b"1" * 5000])
def test_a_result_that_is_no_result_is_damaged(where: RunSite, content: bytes) -> None:
    folder = run_job(job(), where)[0].folder
    (folder / RESULT).write_bytes(content)
    planned = only(job(), where)
    assert (planned.state, planned.why) == (State.DAMAGED, "result.json is damaged")
    assert only(job(seed=1), where).seconds is None


def test_a_result_without_its_scores_is_damaged(where: RunSite) -> None:
    (run_job(job(), where)[0].folder / SCORES).unlink()
    planned = only(job(), where)
    assert (planned.state, planned.why) == (State.DAMAGED, "scores.safetensors is missing")


def test_a_result_whose_model_was_deleted_is_done(where: RunSite) -> None:
    stored, _ = run_job(job(), where)
    assert stored.model_files
    for name in stored.model_files:
        (stored.folder / name).unlink()
    assert only(job(), where).state is State.DONE
    assert Stored.read(stored.folder) is not None
    with pytest.raises(UserError, match="missing; run the job again with --fresh"):
        TrainedModel.of(stored)


def test_a_failure_counts_until_what_it_stands_on_changes(where: RunSite) -> None:
    fingerprint = run_job(job(1), where)[0].result.provenance.data_fingerprints
    folder = where.results_root / "jobs" / job().folder
    record_failure(folder, job().hash, ValueError("two\nlines"), checkpoint_environment(fingerprint, "cpu"))
    planned = only(job(), where)
    assert (planned.state, planned.why) == (State.FAILED, "ValueError: two lines")
    assert totals([planned]).unknown == 0, "a run skips it, so it takes no time"
    edit(folder / FAILURE, lambda failure: failure["environment"].update(torch="1.0"))
    assert only(job(), where).state is State.MISSING
    (folder / FAILURE).write_text("{")
    assert only(job(), where).state is State.MISSING


def test_data_that_are_not_prepared_are_named_and_take_no_time(where: RunSite, tmp_path: Path) -> None:
    planned = only(job(), replace(where, data_root=tmp_path / "nothing"))
    assert planned.state is State.MISSING
    assert "mmcl-bench data prepare nw-ucla" in planned.unready
    summed = totals([planned])
    assert (summed.unready, summed.unknown, summed.seconds) == (1, 0, 0)


def test_a_done_job_stays_done_without_its_data(where: RunSite, tmp_path: Path) -> None:
    run_job(job(), where)
    assert only(job(), replace(where, data_root=tmp_path / "nothing")).state is State.DONE


def test_an_embedded_set_is_not_made_by_a_plan(tmp_path: Path) -> None:
    where = RunSite(tmp_path / "data", tmp_path / "results")
    assert only(job(task="zero-shot/synth60[split=55/5]"), where).unready == ""
    assert not list(tmp_path.iterdir())


def test_the_estimate_is_the_median_of_like_jobs_of_this_split_or_else_of_others(where: RunSite) -> None:
    for seed, seconds in enumerate((10.0, 40.0, 20.0)):
        folder = run_job(job(seed), where)[0].folder
        edit(folder / RESULT, lambda result, seconds=seconds: result["provenance"].update(wall_seconds=seconds))
    other_split, other_settings = job(0, task="supervised/nw-ucla[split=x-view]"), replace(job(9), limit=5)
    planned = plan([job(0), job(9), other_split, other_settings, job(0, "logistic")], where)
    assert [each.seconds for each in planned] == [0.0, 20.0, 20.0, None, None]
    summed = totals(planned)
    assert (summed.jobs, summed.seconds, summed.unknown) == (5, 40.0, 2)
    assert summed.by_state == {State.DONE: 1, State.MISSING: 4}
    assert summed.as_json()["done"] == 1


def test_the_name_of_a_folder_fits_a_file_system() -> None:
    long = load_task("zero-shot/nw-ucla[split=8/2]")
    many = "+".join(["name", "global"] * 60)
    wanted = make_job(long.card.bind({"split": "8/2", "fields": many}), METHODS.get("chance"), 12345)
    assert len(os.fsencode(f".{wanted.folder}.lock")) <= 255
    assert wanted.folder.endswith(f"-s12345-{wanted.hash[:12]}")
    assert job().folder.startswith("supervised-nw-ucla-2-split-x-sub-chance-s0-")
