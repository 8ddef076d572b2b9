"""Where things are kept: prepared data, caches, results. Every place is a setting."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DATA_ROOT_VARIABLE = "MMCL_BENCH_DATA"
RESULTS_VARIABLE = "MMCL_BENCH_RESULTS"
PACKAGE = Path(__file__).parent


def data_root(chosen: Path | None = None) -> Path:
    """The folder of prepared data sets: the option, else ``MMCL_BENCH_DATA``, else the platform's user data folder."""
    if chosen is not None:
        return chosen
    variable = os.environ.get(DATA_ROOT_VARIABLE)
    return Path(variable) if variable else Path(platformdirs.user_data_dir("mmcl-bench", appauthor=False))


def results_root(chosen: Path | None = None) -> Path:
    """The folder of results: the option, else ``MMCL_BENCH_RESULTS``, else ``results`` in the working directory."""
    return chosen or Path(os.environ.get(RESULTS_VARIABLE) or "results")


def packaged(kind: str) -> Path:
    """The folder ``tasks`` or ``protocols``: package data when installed, the repository's own in a checkout."""
    installed = PACKAGE / "data" / kind
    return installed if installed.is_dir() else PACKAGE.parent / kind
