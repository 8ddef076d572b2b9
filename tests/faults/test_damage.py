"""Damage is named where it is met, and redone to the same numbers; no figure of it ever enters a table."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench import read_results
from mmcl_bench.core.errors import UserError
from mmcl_bench.report.page import build_report
from mmcl_bench.results import store
from mmcl_bench.results.store import (
    RESULT,
    SAMPLES,
    SCORES,
    VALIDATION_SAMPLES,
    VALIDATION_SCORES,
    Stored,
    stored_results,
    whole_and_damaged,
)
from mmcl_bench.running.jobs import Job
from mmcl_bench.running.runner import RunSite, run_job


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def one_bit_changed(content: bytes) -> bytes:
    at = len(content) * 2 // 3
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES = [cut_short, emptied, one_bit_changed]


def same(stored: Stored, whole: Stored) -> bool:
    return (
        (stored.folder / SCORES).read_bytes() == (whole.folder / SCORES).read_bytes()
        and stored.result.metrics == whole.result.metrics
        and stored.result.history == whole.result.history
    )


def stopped(wanted: Job, where: RunSite) -> Path:
    """The work folder of a run that was stopped in the fourth of the five epochs of its last fit."""

    def stop(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if phase == "final: training" and done > total * 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(wanted, replace(where, progress=stop))
    return where.results_root / "jobs" / wanted.folder / "work"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["final/state", "final/epoch-0002", "selection/epoch-0005"])
def test_a_damaged_checkpoint_is_named_and_redone(
    wanted: Job, whole: Stored, where: RunSite, caplog: pytest.LogCaptureFixture, name: str, damage: object
) -> None:
    path = stopped(wanted, where) / f"{name}.checkpoint"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        stored, _ = run_job(wanted, where)
    assert str(path) in caplog.text
    assert same(stored, whole)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [RESULT, SCORES, SAMPLES])
def test_a_damaged_result_is_named_and_redone_and_in_no_report(
    wanted: Job, whole: Stored, where: RunSite, caplog: pytest.LogCaptureFixture, name: str, damage: object
) -> None:
    stored, _ = run_job(wanted, where)
    run_job(replace(wanted, seed=1), where)
    path = stored.folder / name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert whole_and_damaged(where.results_root)[1] == [path.parent]
    with caplog.at_level(logging.WARNING):
        stored, is_new = run_job(wanted, where)
    assert is_new
    assert f"{stored.folder}: {name} is damaged" in caplog.text
    assert same(stored, whole)
    assert len(set(read_results(where.results_root).job)) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_in_no_table(wanted: Job, where: RunSite, damage: Callable[[bytes], bytes]) -> None:
    path, other = (run_job(replace(wanted, seed=seed), where)[0].folder / RESULT for seed in range(2))
    path.write_bytes(damage(path.read_bytes()))
    assert set(read_results(where.results_root).folder) == {str(other.parent)}


@pytest.mark.parametrize("damage", [*DAMAGES, None])
def test_scores_are_checked_when_they_are_read(
    wanted: Job, where: RunSite, damage: Callable[[bytes], bytes] | None
) -> None:
    written, _ = run_job(wanted, where)
    for name, read in [
        (SCORES, lambda job: job.scores),
        (SAMPLES, lambda job: job.samples),
        (SAMPLES, lambda job: job.scored()),
        (VALIDATION_SCORES, lambda job: job.validation()),
        (VALIDATION_SAMPLES, lambda job: job.validation()),
    ]:
        path, content = written.folder / name, (written.folder / name).read_bytes()
        path.write_bytes(damage(content)) if damage else path.unlink()
        (listed,) = stored_results(where.results_root)
        assert listed.result == written.result, "the figures are sound"
        with pytest.raises(UserError, match=f"{name}: .*; run its job again") as error:
            read(listed)
        assert "\n" not in str(error.value)
        path.write_bytes(content)


def test_a_listing_reads_no_scores(wanted: Job, where: RunSite, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(wanted, where)
    opened: list[str] = []
    monkeypatch.setattr(store, "file_sha256", lambda path: opened.append(path.name))
    monkeypatch.setattr(Stored, "_content", lambda self, name: opened.append(name))
    assert not read_results(where.results_root).empty
    assert opened == []


def test_a_figure_changed_by_hand_is_damage(wanted: Job, whole: Stored, where: RunSite) -> None:
    stored, _ = run_job(wanted, where)
    text = (stored.folder / RESULT).read_text()
    value = stored.result.metrics["top1"].value
    (stored.folder / RESULT).write_text(text.replace(f'"value": {value}', '"value": 0.99', 1))
    assert read_results(where.results_root).empty
    assert same(run_job(wanted, where)[0], whole)


def test_checkpoints_that_go_while_a_job_runs_are_made_again(wanted: Job, whole: Stored, where: RunSite) -> None:
    gone: list[bool] = []

    def remove(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if phase == "oracle" and not gone:
            gone.append(True)
            (where.results_root / "jobs" / wanted.folder / "work" / "final" / "epoch-0003.checkpoint").unlink()

    assert same(run_job(wanted, replace(where, progress=remove))[0], whole)
    assert gone


def test_a_folder_that_goes_while_results_are_read_is_left_out(wanted: Job, where: RunSite) -> None:
    folders = sorted(run_job(replace(wanted, seed=seed), where)[0].folder for seed in range(3))
    reading = stored_results(where.results_root)
    assert next(reading).folder == folders[0]
    shutil.rmtree(folders[1])
    assert [stored.folder for stored in reading] == folders[2:]


def test_a_file_that_goes_while_a_report_is_made_is_one_line(
    wanted: Job, where: RunSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [run_job(replace(wanted, seed=seed, limit=None), where)[0].folder for seed in range(2)]
    scored = Stored.scored

    def remove_first(self: Stored) -> object:
        (folders[1] / SCORES).unlink(missing_ok=True)
        return scored(self)

    monkeypatch.setattr(Stored, "scored", remove_first)
    with pytest.raises(UserError, match=r"scores\.safetensors: cannot be read") as error:
        build_report(where.results_root, tmp_path / "reports", "none")
    assert "\n" not in str(error.value)


def test_scores_read_later_are_those_that_were_written(wanted: Job, whole: Stored, where: RunSite) -> None:
    stored, _ = run_job(wanted, where)
    np.testing.assert_array_equal(stored.scores, whole.scores)
    shutil.rmtree(stored.folder)
    with pytest.raises(UserError, match="cannot be read"):
        _ = stored.scores
