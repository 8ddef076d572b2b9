"""What ``list`` says of methods, networks, data sets and encoders, kept so that a list need not import them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from mmcl_bench.core import paths
from mmcl_bench.core.files import write_text
from mmcl_bench.core.registry import Registry
from mmcl_bench.core.version import __version__

T = TypeVar("T")
Row = dict[str, str]


def described(registry: Registry[T], pattern: str, describe: Callable[[T], Row]) -> list[Row]:
    """``describe`` of every entry whose name matches, with its name in front.

    Rows of entries of this package are kept in the platform's cache folder for as long as its code stays as it is.
    Plugins are imported every time, as nothing tells when their code changes.
    """
    path = platformdirs.user_cache_path("mmcl-bench", appauthor=False) / "lists" / f"{registry.group}.json"
    code = _code()
    kept = _read(path, code)
    rows = {}
    for name in registry.names(pattern):
        own = registry.is_builtin(name)
        rows[name] = kept[name] if own and name in kept else describe(registry.get(name))
    found = {name: row for name, row in rows.items() if registry.is_builtin(name)}
    if not found.keys() <= kept.keys():
        _write(path, {"code": code, "rows": {**kept, **found}})
    return [{registry.kind: name, **row} for name, row in rows.items()]


def _code() -> str:
    """What changes with the code of this package: its version, how many files it has, and when one last changed."""
    changed = [file.stat().st_mtime_ns for file in paths.PACKAGE.rglob("*.py")]
    return f"{__version__} {len(changed)} {max(changed)}"


def _read(path: Path, code: str) -> dict[str, Row]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content["rows"] if isinstance(content, dict) and content.get("code") == code else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        write_text(path, json.dumps(content))
    except OSError:
        return  # nothing depends on it
