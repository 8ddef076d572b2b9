"""A SLURM cluster, by submitit: one array of jobs, whose folders of data and results all nodes see."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from mmcl_bench.core.compute import usable_cores
from mmcl_bench.core.errors import UserError
from mmcl_bench.results.store import RESULT
from mmcl_bench.running.engines import Assignment, Engine, OnProgress, Outcome, attempt
from mmcl_bench.running.identity import result_folder

_MINUTES = 24 * 60
_MOST_TIMES = 100
"""A job is queued again, as each time it gets further."""
_SECONDS = {"slurm": 5.0, "local": 0.2, "debug": 0.0}
"""Between two looks at what has ended."""


class Slurm(Engine):
    """Jobs that are stopped for want of time, or to make room, are queued again and go on from their checkpoints."""

    name: ClassVar[str] = "slurm"
    options: ClassVar[Mapping[str, str]] = {
        "partition": "partition to queue in",
        "account": "account that pays",
        "constraint": "features that nodes must have",
        "time": f"minutes a job may take before it is queued again, {_MINUTES} when not given",
        "cpus": "cores and threads of a job, 1 when not given",
        "gpus": "GPUs of a job, none when not given",
        "memory": "GB of a job",
        "cluster": "slurm; local or debug to try without one",
    }

    def run(self, assignments: Sequence[Assignment], on_progress: OnProgress) -> Generator[tuple[int, Outcome]]:
        cluster, cpus = self.chosen.get("cluster", "slurm"), self.number("cpus") or 1
        executor = self._executor(cluster, assignments[0].where.results_root / "slurm")
        waiting = deque(enumerate(replace(each, threads=each.threads or cpus) for each in assignments))
        # SLURM itself limits how many of an array run at once.
        at_once = (self.workers or usable_cores()) if cluster == "local" else len(assignments)
        running: dict[int, Any] = {}
        try:
            while waiting or running:
                if some := [waiting.popleft() for _ in range(min(at_once - len(running), len(waiting)))]:
                    jobs = executor.map_array(_Resumable(), [assignment for _, assignment in some])
                    running.update(zip([place for place, _ in some], jobs, strict=True))
                for place in [place for place, job in running.items() if job.done()]:
                    yield place, _outcome(running.pop(place))
                time.sleep(_SECONDS[cluster])
        finally:
            for job in running.values():
                job.cancel()

    def _executor(self, cluster: str, folder: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise UserError("engine slurm needs submitit; pip install 'mmcl-bench[slurm]'") from error
        if cluster not in _SECONDS:
            raise UserError(f"--engine-option cluster={cluster}: expected {', '.join(_SECONDS)}")
        given = {
            "cpus_per_task": self.number("cpus"),
            "gpus_per_node": self.number("gpus"),
            "mem_gb": self.number("memory"),
            "slurm_array_parallelism": self.workers,
            **{f"slurm_{key}": self.chosen.get(key) for key in ("partition", "account", "constraint")},
        }
        try:
            executor = submitit.AutoExecutor(folder / "%j", cluster=cluster, slurm_max_num_timeout=_MOST_TIMES)
        except RuntimeError as error:
            raise UserError("engine slurm: no SLURM on this machine (srun is not found); use --engine local") from error
        executor.update_parameters(
            name="mmcl-bench",
            timeout_min=self.number("time") or _MINUTES,
            **{key: value for key, value in given.items() if value is not None},
        )
        return executor


class _Resumable:
    """What submitit calls on a node, and how it queues that again."""

    def __call__(self, assignment: Assignment) -> Outcome:
        return attempt(assignment)

    def checkpoint(self, assignment: Assignment) -> Any:
        from submitit.helpers import DelayedSubmission

        if assignment.fresh:
            # A former result, which --fresh passes over, would end the job when it is queued again.
            folder = result_folder(assignment.job, assignment.where.results_root)
            (folder / RESULT).unlink(missing_ok=True)
        return DelayedSubmission(self, replace(assignment, fresh=False))


def _outcome(job: Any) -> Outcome:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        outcome: Outcome = job.result()
    except (FailedJobError, UncompletedJobError):
        return Outcome("lost", f"its process was killed or cancelled; see {job.paths.stderr}")
    return outcome
