"""Where things are kept: prepared data, caches, raw archives, results. Every place is a setting.

An option on the command line comes first, then an environment variable, then ``mmcl-bench.toml`` in the working
directory, then the default. A ``~`` at the start of any of them is the user's home folder.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import platformdirs

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import read_text
from mmcl_bench.core.registry import unknown

CONFIG = Path("mmcl-bench.toml")
DATA_ROOT_VARIABLE = "MMCL_BENCH_DATA"
RESULTS_VARIABLE = "MMCL_BENCH_RESULTS"
SOURCES_VARIABLE = "MMCL_BENCH_SOURCES"
PACKAGE = Path(__file__).parents[1]
_VARIABLES = {"data_root": DATA_ROOT_VARIABLE, "results": RESULTS_VARIABLE, "sources": SOURCES_VARIABLE}


def data_root(chosen: Path | None = None) -> Path:
    """The folder of prepared data sets and caches; by default the platform's user data folder."""
    return _setting("data_root", chosen) or Path(platformdirs.user_data_dir("mmcl-bench", appauthor=False))


def results_root(chosen: Path | None = None) -> Path:
    """The folder of results; by default ``results`` in the working directory."""
    return _setting("results", chosen) or Path("results")


def sources_folder() -> Path | None:
    """The folder of published archives, ``<data set>.zip`` each; None where it is not set."""
    return _setting("sources", None)


def packaged(kind: str) -> Path:
    """``tasks``, ``protocols`` or ``results``: package data when installed, in a checkout the repository's own."""
    installed = PACKAGE / "data" / kind
    return installed if installed.is_dir() else PACKAGE.parent / kind


def at_home(path: str | Path) -> str:
    """The path, in which a ``~`` at the start is the user's home folder, as in a shell.

    Without such a user it is the name of a file, and so is that of ``./~``.
    """
    return os.path.expanduser(path)  # noqa: PTH111  pathlib drops the ./ and raises without such a user


def _setting(key: str, chosen: Path | None) -> Path | None:
    value = chosen or os.environ.get(_VARIABLES[key]) or _config().get(key)
    return Path(at_home(value)) if value else None


def _config() -> dict[str, str]:
    """The config file; empty where there is none. Raises :class:`UserError` when it cannot be used."""
    try:
        settings = tomllib.loads(read_text(CONFIG))
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
