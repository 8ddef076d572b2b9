"""Devices by name, numbers of threads, and deterministic torch."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

from mmcl_bench.core.errors import UserError


def find_device(name: str) -> str:
    """The torch device called ``name``; ``auto`` is a GPU where there is one.

    Raises :class:`UserError` for one that this machine lacks.
    """
    # So that asking for GPUs does not start CUDA, after which no process can be forked.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        return name
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: this machine has no such device; try cpu or auto") from error
    return name


THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that numeric libraries read when they are loaded."""


_SPINS = "1000"
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_without_spinning() -> None:
    """Makes waiting OpenMP threads release their core early. Must be called before torch is loaded.

    By default they spin for milliseconds. On a busy machine this takes the cores from the thread that they wait for:
    with 1,000 spins two threads train 1.9 times as fast beside one busy process and 3 times as fast beside four, and a
    tenth slower on an idle machine (two cores, medians of runs in turn). A value set by the user is kept.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def threads_alone() -> int:
    """Threads of the only job of this machine: as many as torch takes by itself, within the quota of CPU time."""
    import torch

    return min(torch.get_num_threads(), threads_each(1))


def limit_threads(threads: int) -> None:
    """Sets the number of computing threads, of libraries that are loaded and of those that will be."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def threads_each(workers: int) -> int:
    """Threads of each of several jobs that run at once: an equal share of the cores, unless the user has set them."""
    if given := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]:
        return int(given) if given.isdigit() else 1
    return max(1, usable_cores() // workers)


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity, or fewer where a control group limits its CPU time.

    The load of other processes is not considered: sums round differently with another number of threads, and the same
    job on the same machine has to give the same numbers.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min([cores, *map(_quota, _control_groups())]))


_GROUPS = Path("/sys/fs/cgroup")
_GROUPS_OF_PROCESS = Path("/proc/self/cgroup")


def _control_groups() -> Iterator[Path]:
    """Folders of the groups that limit the CPU time of this process, each with those around it; only Linux has some.

    A line such as ``0::/user.slice`` is of version 2 of control groups, ``3:cpu,cpuacct:/job`` of version 1. In a
    container the path may be that of the host; then only the outermost folder is there, and is the container's own.
    """
    with contextlib.suppress(OSError):
        for line in _GROUPS_OF_PROCESS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                top = _GROUPS / "cpu" if controllers else _GROUPS
                group = top / path.lstrip("/")
                yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _quota(group: Path) -> float:
    """Cores whose whole time a control group may use; infinite without a limit."""
    names = ["cpu.max"] if (group / "cpu.max").exists() else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    with contextlib.suppress(OSError, ValueError):  # no such files in the outermost group; "max" for no limit
        quota, period = " ".join((group / name).read_text(encoding="utf-8") for name in names).split()
        if int(quota) > 0:  # version 1 has -1 for no limit
            return int(quota) / int(period)
    return math.inf


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Makes torch deterministic."""
    import torch

    before = torch.get_deterministic_debug_mode()
    # torch.use_deterministic_algorithms also loads torch's compiler, which takes two seconds; see follow_determinism.
    torch.set_deterministic_debug_mode("error" if device == "cpu" else "warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def follow_determinism() -> None:
    """Makes torch's compiler as deterministic as torch is. Called before anything is compiled."""
    import torch

    torch.use_deterministic_algorithms(
        torch.are_deterministic_algorithms_enabled(), warn_only=torch.is_deterministic_algorithms_warn_only_enabled()
    )
