"""What computes: the device that a name means, threads, and torch repeating itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

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
"""What the libraries that compute read when they are loaded."""


_SPINS = "1000"
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_without_spinning() -> None:
    """Lets threads of OpenMP that wait give their core away soon; for a process that has not loaded torch yet.

    By default they spin for milliseconds, and where other work wants the cores, that keeps them from the thread that
    is waited for. Beside six busy processes two training threads made 0.2 steps a second with 100,000 spins, 0.6 with
    10,000 and 1.0 with 1,000. What the user has set stays.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def limit_threads(threads: int) -> None:
    """Sets how many threads compute; whole in a process that has not loaded the libraries yet."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    import torch

    torch.set_num_threads(threads)


def threads_each(workers: int) -> int:
    """Threads of each of some jobs at once on this machine: its cores in equal shares, unless the user has set them."""
    if given := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]:
        return int(given) if given.isdigit() else 1
    return max(1, usable_cores() // workers)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Makes torch repeat itself; costs nothing where torch is not used."""
    import torch

    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
