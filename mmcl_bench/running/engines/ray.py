"""A Ray cluster, or one that is made of this machine for as long as the jobs take."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, ClassVar

from mmcl_bench.core.compute import threads_each, usable_cores
from mmcl_bench.core.errors import UserError
from mmcl_bench.running.engines import Assignment, Engine, OnProgress, Outcome, attempt


class Ray(Engine):
    """All machines of the cluster see the folders of data and results."""

    name: ClassVar[str] = "ray"
    options: ClassVar[Mapping[str, str]] = {
        "address": "of a running cluster, such as auto; a local one is started when not given",
        "cpus": "cores and threads of a job; this machine's in equal shares among the workers when not given",
        "gpus": "GPUs of a job, none when not given",
    }

    def run(self, assignments: Sequence[Assignment], on_progress: OnProgress) -> Generator[tuple[int, Outcome]]:
        # Read by ray when it is imported: nothing is reported to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise UserError("engine ray needs ray; pip install 'mmcl-bench[ray]'") from error
        workers = min(self.workers or usable_cores(), len(assignments))
        cpus = self.number("cpus") or threads_each(self.workers or usable_cores())
        with closing(_Cluster(ray, self.chosen.get("address"), workers * cpus)):
            # A killed worker is the next run's to go on with, as of every engine.
            remote = ray.remote(num_cpus=cpus, num_gpus=self.number("gpus") or 0, max_retries=0)(attempt)
            waiting = list(reversed(list(enumerate(assignments))))
            running: dict[Any, int] = {}
            while waiting or running:
                while waiting and len(running) < workers:
                    place, given = waiting.pop()
                    running[remote.remote(replace(given, threads=given.threads or cpus))] = place
                (ended, *_), _ = ray.wait(list(running))
                yield running.pop(ended), _outcome(ray, ended)


class _Cluster:
    """A connection to a cluster. Closing it stops its jobs, and the cluster as well where it is a local one."""

    def __init__(self, ray: Any, address: str | None, cores: int) -> None:
        self._ray = ray
        own = {"num_cpus": cores, "include_dashboard": False} if address is None else {"address": address}
        try:
            ray.init(log_to_driver=False, configure_logging=False, **own)
        except ConnectionError as error:
            raise UserError(
                f"--engine-option address={address}: no Ray cluster there; leave it out for a local one"
            ) from error

    def close(self) -> None:
        self._ray.shutdown()


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return Outcome("lost", f"its process was killed ({type(error).__name__}), most likely for want of memory")
    return outcome
