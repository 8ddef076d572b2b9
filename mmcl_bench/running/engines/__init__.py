"""Where jobs run: processes of this machine, a SLURM cluster, a Ray cluster.

An :class:`Engine` is given assignments and yields how each ended. Whatever it is, a job runs in :func:`attempt`, which
writes to the job's own folder alone; files that jobs share are written by who reads the outcomes.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mmcl_bench.core.compute import limit_threads
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import Registry, unknown

if TYPE_CHECKING:
    from mmcl_bench.protocols.problem import Progress
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.runner import RunSite

ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    "mmcl_bench.engines",
    {
        "local": "mmcl_bench.running.engines.local:Local",
        "slurm": "mmcl_bench.running.engines.slurm:Slurm",
        "ray": "mmcl_bench.running.engines.ray:Ray",
    },
)


@dataclass(frozen=True)
class Assignment:
    """A job and how to run it. It travels to other processes and machines, its progress does not."""

    job: Job
    where: RunSite
    fresh: bool = False
    wait: bool = True
    """Whether to wait for another runner that has the job."""
    threads: int | None = None
    """Threads that compute; None: as the libraries choose."""

    def __getstate__(self) -> dict[str, Any]:
        from mmcl_bench.protocols.problem import silent

        return {**self.__dict__, "where": replace(self.where, progress=silent)}


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: Literal["new", "stored", "failed", "busy", "lost", "full"]
    """``busy``: another runner has it. ``lost``: its process was killed, so that the next run goes on with it.
    ``full``: no room is left on a disk."""
    error: str = ""
    """One line; for ``full``, the place."""
    notices: tuple[str, ...] = ()
    """What it logged on the way, such as what was damaged and done again."""


OnProgress = Callable[[int, str, int, int, Mapping[str, float]], None]
"""Takes the progress of a job: its place among the assignments, then what a :data:`Progress` takes."""


class Engine(ABC):
    """Runs assignments. Made with the number of jobs at once and with options of its own, as text."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, str]] = {}
    """What ``--engine-option`` may set, with what it means."""

    def __init__(self, workers: int | None = None, options: Mapping[str, str] | None = None) -> None:
        for key in options or {}:
            if key not in self.options:
                raise UserError(f"engine {self.name}: {unknown('option', key, sorted(self.options))}")
        self.workers = workers
        self.chosen = dict(options or {})

    @abstractmethod
    def run(self, assignments: Sequence[Assignment], on_progress: OnProgress) -> Generator[tuple[int, Outcome]]:
        """Yields the place and the outcome of each, as they end. Closing it stops what still runs.

        Raises :class:`UserError` where it cannot run anything.
        """

    def at_once(self, n_jobs: int, device: str) -> int | None:
        """How many jobs run at once; None where that is not known, as on a cluster."""
        return self.workers and min(self.workers, n_jobs)

    def number(self, key: str) -> int | None:
        """An option that is a whole number from 1 on; None where it was not given."""
        if key not in self.chosen:
            return None
        if not re.fullmatch("[0-9]*[1-9][0-9]*", self.chosen[key]):
            raise UserError(f"--engine-option {key}={self.chosen[key]}: expected a whole number, 1 or more")
        return int(self.chosen[key])


def attempt(assignment: Assignment, progress: Progress | None = None) -> Outcome:
    """Runs one job; whatever it raises becomes its outcome, but for Ctrl-C."""
    if assignment.threads is not None:
        limit_threads(assignment.threads)

    from filelock import Timeout

    from mmcl_bench.core.files import is_disk_full
    from mmcl_bench.running.runner import run_job
    from mmcl_bench.running.work_folder import one_line

    where = assignment.where if progress is None else replace(assignment.where, progress=progress)
    with _Notices() as notices:
        try:
            _, is_new = run_job(assignment.job, where, assignment.fresh, assignment.wait)
        except Timeout:
            return Outcome("busy")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a job's own failure, whatever it is, which must not stop the others
            if is_disk_full(error):
                return Outcome("full", str(getattr(error, "filename", None) or where.results_root))
            return Outcome("failed", one_line(error), notices.texts())
    return Outcome("new" if is_new else "stored", notices=notices.texts())


class _Notices(logging.Handler):
    """Collects warnings of this package, as no log of another process is seen."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[str] = []

    def texts(self) -> tuple[str, ...]:
        return tuple(self._records)

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record.getMessage())

    def __enter__(self) -> _Notices:
        logger = logging.getLogger("mmcl_bench")
        self._propagated, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("mmcl_bench")
        logger.removeHandler(self)
        logger.propagate = self._propagated
