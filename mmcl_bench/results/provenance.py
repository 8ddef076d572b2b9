"""Where a result comes from: code, packages, machine, data and weights."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata

from mmcl_bench.core.paths import PACKAGE
from mmcl_bench.core.version import __version__
from mmcl_bench.results.records import Provenance

_PACKAGES = (
    *("numpy", "pandas", "scikit-learn", "scipy", "torch", "transformers"),
    *("timm", "open_clip_torch", "safetensors"),
)
_SOURCES = ("mmcl_bench", "tasks", "protocols")
"""Folders whose content determines the numbers of a checkout; a report that is written there changes none."""


@dataclass(frozen=True)
class Start:
    """When a run began, and of which code."""

    moment: datetime
    clock: float
    commit: str | None
    dirty: bool | None

    @property
    def seconds(self) -> float:
        """Since then."""
        return time.perf_counter() - self.clock


def start() -> Start:
    """The present time and commit: the code that the run has loaded, even if another is checked out before it ends."""
    return Start(datetime.now(UTC), time.perf_counter(), *_source_commit())


def collect(
    started: Start,
    device: str,
    fingerprints: dict[str, str],
    weight_hashes: dict[str, str],
    former_seconds: float = 0.0,
    starts: int = 1,
    fit_seconds: float | None = None,
    score_seconds: float | None = None,
) -> Provenance:
    """The provenance of a run that ends now, after ``starts - 1`` that were stopped after ``former_seconds`` in all."""
    import torch

    return Provenance(
        mmcl_bench=__version__,
        commit=started.commit,
        dirty=started.dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: metadata.version(name) for name in _PACKAGES},
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu",
        device_type=torch.device(device).type,
        threads=torch.get_num_threads(),
        data_fingerprints=fingerprints,
        weight_hashes=dict(weight_hashes),
        started=started.moment.isoformat(timespec="seconds"),
        wall_seconds=round(former_seconds + started.seconds, 1),
        starts=starts,
        fit_seconds=None if fit_seconds is None or starts > 1 else round(fit_seconds, 2),
        score_seconds=None if score_seconds is None else round(score_seconds, 2),
        peak_memory_bytes=peak_memory_bytes(),
    )


def _source_commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that the package runs from, and whether its sources were changed or added to since;
    (None, None) when installed."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None, None

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=all", "--", *_SOURCES)
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None, None


def peak_memory_bytes() -> int:
    """Bytes of resident memory at most, so far, of this process; 0 on Windows."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
