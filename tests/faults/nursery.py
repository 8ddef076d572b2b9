"""A warm process that forks a run of a job again and again, and kills it: each start is spared the imports.

Reads a seed, numbers of kills and threads, and folders from its command line, writes what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import RESULT, SCORES, Stored
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.runner import RunSite, run_job
from tiny_network import TinyNetwork

_OK = 0


def tiny_job() -> Job:
    """Two fits of five epochs, and the oracle."""
    return make_job(load_task("supervised/nw-ucla[split=x-sub]"), METHODS.get("tiny-network"), 0, limit=60)


def forked(wanted: Job, where: RunSite) -> int:
    """The id of a process that runs the job and nothing else."""
    child = os.fork()
    if child:
        return child
    try:
        # A thread of its own, as computing threads are not there after a fork.
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)) as alone:
            alone.submit(run_job, wanted, where).result()
        os._exit(_OK)
    finally:
        os._exit(1)


def run_undisturbed(wanted: Job, where: RunSite) -> float:
    """Seconds that it takes."""
    begin = time.monotonic()
    _, status = os.waitpid(forked(wanted, where), 0)
    if status != _OK:
        raise SystemExit("an undisturbed run failed")
    return time.monotonic() - begin


def kill_at(child: int, seconds: float) -> bool:
    """Whether a process was still running when it was killed after so many seconds. Raises where it failed before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status != _OK:
                raise SystemExit(f"a run that goes on after a kill failed with status {status}")
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(seed: int, kills: int, threads: int, data: Path, place: Path) -> None:
    torch.set_num_threads(threads)
    os.fsync = lambda handle: None  # a kill is no power cut
    METHODS.register("tiny-network")(TinyNetwork)
    wanted, where = tiny_job(), RunSite(data, place / "whole")
    whole, _ = run_job(wanted, where)  # here, so that what it imports is there in every fork
    chance, where = random.Random(seed), replace(where, results_root=place / "killed")
    usual = run_undisturbed(wanted, where)
    shutil.rmtree(where.results_root)
    folder = where.results_root / "jobs" / wanted.folder
    seen = {
        "kills": 0,
        "with checkpoints": 0,
        "both fits at once": 0,
        "finished": 0,
        "same": 0,
        "left behind": 0,
        "starts": 0,
        "seconds": usual,
    }
    while seen["kills"] < kills:
        if kill_at(forked(wanted, where), chance.uniform(0, usual)):
            seen["kills"] += 1
            seen["with checkpoints"] += any(folder.rglob("*.checkpoint"))
            seen["both fits at once"] += (folder / "work" / "final-ahead").is_dir()
            Stored.open(folder)  # a damaged result would raise
            if seen["kills"] < kills:
                continue
            run_undisturbed(wanted, where)
        ended = Stored.open(folder)
        assert ended is not None
        seen["finished"] += 1
        seen["same"] += (
            (folder / SCORES).read_bytes() == (whole.folder / SCORES).read_bytes()
            and ended.result.metrics == whole.result.metrics
            and ended.result.history == whole.result.history
        )
        seen["left behind"] += len({path.name for path in folder.iterdir()} - {RESULT, *ended.result.files})
        seen["starts"] = max(seen["starts"], ended.result.provenance.starts)
        shutil.rmtree(where.results_root)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *map(Path, sys.argv[4:]))
