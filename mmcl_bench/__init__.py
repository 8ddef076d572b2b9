"""An evaluation benchmark suite for skeleton-based action recognition.

>>> import mmcl_bench as mb
>>> table = mb.run("zero-shot/synth60[split=55/5]", method="mmcl", seeds=3)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.compute import wait_without_spinning
from mmcl_bench.core.version import __version__

# Here, so that it happens before torch is loaded, in the command line, workers, notebooks and tests alike.
wait_without_spinning()

if TYPE_CHECKING:
    from mmcl_bench.protocols.catalogue import list_tasks as list_tasks
    from mmcl_bench.protocols.catalogue import load_task as load_task
    from mmcl_bench.results.store import read_results as read_results
    from mmcl_bench.running.runner import run as run

_HOME = {
    "run": "running.runner",
    "read_results": "results.store",
    "list_tasks": "protocols.catalogue",
    "load_task": "protocols.catalogue",
}
__all__ = ["__version__", "list_tasks", "load_task", "read_results", "run"]


def __getattr__(name: str) -> Any:
    """Imports the public functions when they are first used, so that importing the package is cheap."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
