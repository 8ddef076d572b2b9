"""Only a folder that is called as its job is a result; a copy of one is none, in whatever reads results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmcl_bench.comparing.baseline import rows_of
from mmcl_bench.core.errors import UserError
from mmcl_bench.inference.predict import find_job
from mmcl_bench.report.page import build_report
from mmcl_bench.results.store import Stored, read_results, require_results, stored_results, whole_and_damaged
from stored_jobs import stored_job

COPIES = ["0-old-backup", "{} - Copy", "{}.bak", "{} (1)", "old-{}", "copy of {}", "x-s0-0123456789ab", "{}-{}"]


@pytest.fixture
def job(tmp_path: Path) -> Stored:
    """A job, beside older copies of it with another figure."""
    return stored_job(tmp_path, skill=5.0)


def _copied(job: Stored, name: str) -> Path:
    return Path(shutil.copytree(job.folder, job.folder.with_name(name.replace("{}", job.folder.name))))


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_no_result(name: str, job: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = _copied(job, name)
    (told,) = _told(tmp_path, caplog)
    assert copy.name in told
    assert "\n" not in told
    assert set(read_results(tmp_path)["folder"]) == {str(job.folder)}
    assert [stored.folder for stored in require_results(tmp_path)] == [job.folder]
    assert [stored.folder for stored in whole_and_damaged(tmp_path)[0]] == [job.folder]
    assert find_job(tmp_path, job.result.job_hash[:8]).folder == job.folder
    assert find_job(tmp_path, job.result.job_hash).folder == job.folder
    assert find_job(tmp_path, job.result.task.identity).folder == job.folder
    assert _told(tmp_path, caplog) == [told], "said once"


def _told(root: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    list(stored_results(root))
    return caplog.messages


def test_a_report_shows_the_job_and_not_its_older_copy(tmp_path: Path) -> None:
    older = stored_job(tmp_path / "older", skill=0.1, seed=0)
    job = stored_job(tmp_path, skill=5.0, seed=0)
    assert older.result.job_hash == job.result.job_hash
    shutil.copytree(older.folder, tmp_path / "jobs" / "0-old-backup")
    summary = build_report(tmp_path, tmp_path / "reports", "none")
    assert summary.n_jobs == 1
    assert summary.damaged == []
    assert f",{job.result.metrics['top1'].value:.4f}," in summary.leaderboards[0].read_text(encoding="utf-8")


def test_a_baseline_counts_a_seed_once(tmp_path: Path) -> None:
    jobs = [stored_job(tmp_path, seed=seed) for seed in range(2)]
    _copied(jobs[1], "{} - Copy")
    (row,) = rows_of(require_results(tmp_path))
    assert [seed.seed for seed in row.seeds] == [0, 1]


def test_copies_alone_are_no_results(job: Stored, tmp_path: Path) -> None:
    job.folder.rename(job.folder.with_name("moved"))
    assert read_results(tmp_path).empty
    with pytest.raises(UserError, match="no finished job"):
        require_results(tmp_path)


@pytest.mark.parametrize("name", ["b" * 250, "b" * 190, "b"])
def test_names_of_any_length_are_the_jobs_own(name: str, tmp_path: Path) -> None:
    job = stored_job(tmp_path, name=name)
    assert [stored.folder for stored in stored_results(tmp_path)] == [job.folder]


def test_a_fusion_is_called_by_the_number_of_its_members(tmp_path: Path) -> None:
    job = stored_job(tmp_path, method="fusion")
    content = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
    content |= {"job": {**content["job"], "members": ["a" * 64, "b" * 64]}, "seal": None}
    (job.folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    assert list(stored_results(tmp_path)) == []
    renamed = job.folder.rename(job.folder.with_name(job.folder.name.replace("-fusion-", "-fusion-of-2-")))
    assert [stored.folder for stored in stored_results(tmp_path)] == [renamed]
