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
    from mmcl_bench.inference.arrays import clips as clips
    from mmcl_bench.methods.base import Method as Method
    from mmcl_bench.methods.base import MethodSettings as MethodSettings
    from mmcl_bench.methods.shared.estimator_method import EstimatorMethod as EstimatorMethod
    from mmcl_bench.protocols.catalogue import list_tasks as list_tasks
    from mmcl_bench.protocols.catalogue import load_task as load_task
    from mmcl_bench.protocols.problem import FitReport as FitReport
    from mmcl_bench.results.store import read_results as read_results
    from mmcl_bench.running.notebook import run as run
    from mmcl_bench.running.notebook import trained_model as trained_model

_HOME = {
    "EstimatorMethod": "methods.shared.estimator_method",
    "FitReport": "protocols.problem",
    "Method": "methods.base",
    "MethodSettings": "methods.base",
    "clips": "inference.arrays",
    "list_tasks": "protocols.catalogue",
    "load_task": "protocols.catalogue",
    "read_results": "results.store",
    "run": "running.notebook",
    "trained_model": "running.notebook",
}
__all__ = [  # noqa: RUF022 - in the order of _HOME
    "EstimatorMethod",
    "FitReport",
    "Method",
    "MethodSettings",
    "clips",
    "list_tasks",
    "load_task",
    "read_results",
    "run",
    "trained_model",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used, so that importing the package is cheap."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
