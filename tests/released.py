"""Names and shapes of parameters in released checkpoints, and seeded generators, for tests of networks."""

from __future__ import annotations

import torch


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    state = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**state, f"{name}.num_batches_tracked": ()}


def conv(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
