"""Where a result comes from: code, packages, machine, data and weights."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import mmcl_bench
from mmcl_bench.results import Provenance

_PACKAGES = (
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "torch",
    "transformers",
    "timm",
    "open_clip_torch",
    "safetensors",
)


@dataclass(frozen=True)
class Start:
    """When a run began."""

    moment: datetime
    clock: float


def start() -> Start:
    return Start(datetime.now(UTC), time.perf_counter())


def collect(started: Start, device: str, fingerprints: dict[str, str], weight_hashes: dict[str, str]) -> Provenance:
    """The provenance of a run that ends now."""
    import torch

    commit, dirty = _source_commit()
    return Provenance(
        mmcl_bench=mmcl_bench.__version__,
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: metadata.version(name) for name in _PACKAGES},
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu",
        threads=torch.get_num_threads(),
        data_fingerprints=fingerprints,
        weight_hashes=dict(weight_hashes),
        started=started.moment.isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - started.clock, 1),
        peak_memory_bytes=_peak_memory(),
    )


def _source_commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that the package runs from, and whether it was changed; (None, None) when installed."""
    root = Path(mmcl_bench.__file__).parents[1]
    if not (root / ".git").exists():
        return None, None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _peak_memory() -> int:
    """Bytes of resident memory at most, so far, of this process."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
