"""scikit-learn pipelines: fitted ones as plain arrays and JSON values, and back. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

_TRANSPOSED = ".T"
_FORMER = [["mean_", "scale_"], ["coef_", "intercept_", "classes_"]]
"""The steps of saved models that do not list their steps: a StandardScaler and a linear model."""


def to_plain(fitted: Pipeline) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The fitted attributes of the steps, by scikit-learn's names: arrays, and values that are plain JSON.

    Raises :class:`TypeError` for a step with another kind of fitted attribute, such as a tree.
    """
    arrays: dict[str, np.ndarray] = {}
    steps: list[dict[str, Any]] = []
    for number, (_, step) in enumerate(fitted.steps):
        steps.append({"arrays": [], "values": {}})
        for name, value in vars(step).items():
            if name in step.get_params(deep=False):
                continue
            if isinstance(value, np.ndarray) and value.dtype != object:
                key, array = _in_row_order(f"{number}.{name}" if name in arrays else name, value)
                arrays[key] = array
                steps[-1]["arrays"].append(key)
            elif isinstance(value, bool | int | float | str | np.number | None):
                steps[-1]["values"][name] = value.item() if isinstance(value, np.number) else value
            else:
                raise TypeError(f"{type(step).__name__} has learned {name}, a {type(value).__name__}")
    return arrays, {"steps": steps}


def from_plain(unfitted: Pipeline, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Pipeline:
    """The pipeline as :func:`to_plain` found it, put into one that was made the same way and not fitted."""
    n_features = {"n_features_in_": len(arrays["mean_"])} if "mean_" in arrays else {}
    former = [{"arrays": [key for key in arrays if key.removesuffix(_TRANSPOSED) in names]} for names in _FORMER]
    for (_, step), learned in zip(unfitted.steps, facts.get("steps", former), strict=True):
        vars(step).update(learned.get("values", n_features))
        for key in learned["arrays"]:
            array = arrays[key].T if key.endswith(_TRANSPOSED) else arrays[key]
            setattr(step, key.removesuffix(_TRANSPOSED).rpartition(".")[2], array)
    return unfitted


def ridge_map(penalty: float) -> Pipeline:
    """Ridge regression on standardised features, not fitted."""
    return make_pipeline(StandardScaler(), Ridge(alpha=penalty))


def _in_row_order(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """The array, transposed if it is in column order: products round differently in another memory order."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return name + _TRANSPOSED, array.T
    return name, array
