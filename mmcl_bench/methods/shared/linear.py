"""A standardised linear model as plain arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

_TRANSPOSED = ".T"
_OF_SCALER, _OF_MODEL = ("mean_", "scale_"), ("coef_", "intercept_", "classes_")


def to_arrays(fitted: Pipeline) -> dict[str, np.ndarray]:
    """What a fitted pipeline of :class:`StandardScaler` and a linear model computes with, by scikit-learn's names."""
    scaler, model = (step for _, step in fitted.steps)
    found = {name: getattr(scaler, name) for name in _OF_SCALER}
    found |= {name: np.asarray(getattr(model, name)) for name in _OF_MODEL if hasattr(model, name)}
    return dict(_in_row_order(name, array) for name, array in found.items())


def from_arrays(model: Any, arrays: Mapping[str, np.ndarray]) -> Pipeline:
    """The fitted pipeline again; ``model`` is a linear model that was not fitted."""
    scaler = StandardScaler()
    n_features = len(arrays["mean_"])
    arrays = {
        name.removesuffix(_TRANSPOSED): array.T if name.endswith(_TRANSPOSED) else array
        for name, array in arrays.items()
    }
    for step, names in ((scaler, _OF_SCALER), (model, _OF_MODEL)):
        step.n_features_in_ = n_features
        for name in names:
            if name in arrays:
                setattr(step, name, arrays[name])
    return make_pipeline(scaler, model)


def _in_row_order(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """The array, transposed where it lies in column order: products round otherwise where the order is another."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return name + _TRANSPOSED, array.T
    return name, array
