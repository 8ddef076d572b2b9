"""A disk that fills at any write ends a run in one line, and the same command then ends with the same numbers."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from mmcl_bench.cli import main
from mmcl_bench.core import files as atomic
from mmcl_bench.results.store import SCORES, Stored
from mmcl_bench.running.engines import Assignment, attempt
from mmcl_bench.running.jobs import Job
from mmcl_bench.running.runner import RunSite, run_job
from mmcl_bench.running.work_folder import FAILURE


class FillingDisk:
    """Stands for the flush to disk that ends every write; has no room from the given one on."""

    def __init__(self, room_for: int) -> None:
        self.left = room_for
        self._flush = atomic._flush

    def __call__(self, path: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._flush(path)


def flushes_of(wanted: Job, where: RunSite, monkeypatch: pytest.MonkeyPatch) -> int:
    disk = FillingDisk(10**9)
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_flush", disk)
        run_job(wanted, where)
    return 10**9 - disk.left


def test_a_disk_that_fills_at_any_write_changes_no_number(
    wanted: Job, whole: Stored, where: RunSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = flushes_of(wanted, RunSite(where.data_root, tmp_path / "counted"), monkeypatch)
    for room in range(0, count, 3):
        place = RunSite(where.data_root, tmp_path / f"room-for-{room}")
        with monkeypatch.context() as patched:
            patched.setattr(atomic, "_flush", FillingDisk(room))
            outcome = attempt(Assignment(wanted, place))
        assert outcome.state == "full", room
        folder = place.results_root / "jobs" / wanted.folder
        assert not (folder / FAILURE).exists(), "a full disk is no failure of the job"
        Stored.open(folder)  # a damaged result would raise
        stored, _ = run_job(wanted, place)
        assert (stored.folder / SCORES).read_bytes() == (whole.folder / SCORES).read_bytes()
        assert stored.result.metrics == whole.result.metrics


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits a process of its own")
@pytest.mark.parametrize("limit", [100, 2000, 20_000])
def test_a_real_limit_on_files_ends_a_run_as_a_full_disk(
    wanted: Job, whole: Stored, where: RunSite, limit: int
) -> None:
    import resource

    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # the pool of threads is not there after a fork, and would be waited for
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            os._exit(0 if attempt(Assignment(wanted, where)).state == "full" else 3)
        finally:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    stored, _ = run_job(wanted, where)
    assert (stored.folder / SCORES).read_bytes() == (whole.folder / SCORES).read_bytes()


def test_a_full_disk_is_one_line_on_the_command_line(
    toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(sys, "argv", ["mmcl-bench", "run", "supervised/nw-ucla", "--method", "chance"])
    monkeypatch.setattr(atomic, "_flush", FillingDisk(0))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    announced, line = capsys.readouterr().err.splitlines()
    assert announced.startswith("runs 1 job on ")
    assert line.startswith("mmcl-bench: the disk is full at ")
