"""Devices by name, numbers of threads, and deterministic torch."""

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


def limit_threads(threads: int) -> None:
    """Sets the number of computing threads; fully effective only before the numeric libraries are loaded."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    import torch

    torch.set_num_threads(threads)


def threads_each(workers: int) -> int:
    """Threads of each of several jobs that run at once: an equal share of the cores, unless the user has set them."""
    if given := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]:
        return int(given) if given.isdigit() else 1
    return max(1, usable_cores() // workers)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Makes torch deterministic; does not load torch where it is not used."""
    import torch

    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
