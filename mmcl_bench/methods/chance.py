"""Guessing: what a figure must beat before it means anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.saved import read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem


class Chance(Method):
    """Uniform random scores."""

    name: ClassVar[str] = "chance"
    summary: ClassVar[str] = "uniform random scores"

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self._generator = np.random.default_rng(context.seed)
        self._layout = problem.train.clips.layout
        self._n_classes = len(problem.classes)
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        return self._generator.random((len(clips), self._n_classes), dtype=np.float32)

    def save(self, folder: Path) -> list[str]:
        facts = {"n_classes": self._n_classes, "generator": self._generator.bit_generator.state}
        return write_model(folder, self, self._layout, facts)

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any], device: str = "cpu") -> Self:
        saved, method = read_model(folder, cls), cls(**settings)
        method._layout, method._n_classes = saved.layout, saved.facts["n_classes"]
        method._generator = np.random.default_rng()
        method._generator.bit_generator.state = saved.facts["generator"]
        return method
