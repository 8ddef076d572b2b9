"""Where things are kept: prepared data, caches, raw archives, results. Every place is a setting.

An option on the command line comes first, then an environment variable, then ``mmcl-bench.toml`` in the working
directory, then the default.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import platformdirs

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown

CONFIG = Path("mmcl-bench.toml")
DATA_ROOT_VARIABLE = "MMCL_BENCH_DATA"
RESULTS_VARIABLE = "MMCL_BENCH_RESULTS"
SOURCES_VARIABLE = "MMCL_BENCH_SOURCES"
PACKAGE = Path(__file__).parents[1]
_VARIABLES = {"data_root": DATA_ROOT_VARIABLE, "results": RESULTS_VARIABLE, "sources": SOURCES_VARIABLE}


def data_root(chosen: Path | None = None) -> Path:
    """The folder of prepared data sets and caches; by default the platform's user data folder."""
    return chosen or _setting("data_root") or Path(platformdirs.user_data_dir("mmcl-bench", appauthor=False))


def results_root(chosen: Path | None = None) -> Path:
    """The folder of results; by default ``results`` in the working directory."""
    return chosen or _setting("results") or Path("results")


def sources_folder() -> Path | None:
    """The folder of published archives, ``<data set>.zip`` each; None where it is not set."""
    return _setting("sources")


def packaged(kind: str) -> Path:
    """``tasks``, ``protocols`` or ``results``: package data when installed, in a checkout the repository's own."""
    installed = PACKAGE / "data" / kind
    return installed if installed.is_dir() else PACKAGE.parent / kind


def _setting(key: str) -> Path | None:
    value = os.environ.get(_VARIABLES[key]) or _config().get(key)
    return Path(value).expanduser() if value else None


def _config() -> dict[str, str]:
    """The config file; empty where there is none. Raises :class:`UserError` when it cannot be used."""
    try:
        settings = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{CONFIG}: not a readable config file ({error})") from error
    for key, value in settings.items():
        if key not in _VARIABLES:
            raise UserError(f"{CONFIG}: {unknown('setting', key, sorted(_VARIABLES))}")
        if not isinstance(value, str):
            raise UserError(f"{CONFIG}: {key} should be a path in quotes")
    return settings
