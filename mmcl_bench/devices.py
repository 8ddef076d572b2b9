"""Which device a name means on this machine."""

from __future__ import annotations

import os

from mmcl_bench.errors import UserError


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
