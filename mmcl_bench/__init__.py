"""An evaluation benchmark suite for skeleton-based action recognition.

>>> import mmcl_bench as mb
>>> table = mb.run("zero-shot/synth60[split=55/5]", method="mmcl", seeds=3)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mmcl_bench.results import read_results as read_results
    from mmcl_bench.runner import run as run
    from mmcl_bench.tasks import list_tasks as list_tasks
    from mmcl_bench.tasks import load_task as load_task

_HOME = {"run": "runner", "read_results": "results", "list_tasks": "tasks", "load_task": "tasks"}
__all__ = ["__version__", "list_tasks", "load_task", "read_results", "run"]


def __getattr__(name: str) -> Any:
    """Imports the public functions when they are first used, so that importing the package is cheap."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
