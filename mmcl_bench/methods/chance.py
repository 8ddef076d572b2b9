"""Guessing: what a figure must beat before it means anything."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mmcl_bench.methods.base import Context, FitReport, Method
from mmcl_bench.protocols.base import ClipView, Problem


class Chance(Method):
    """Uniform random scores."""

    name: ClassVar[str] = "chance"
    summary: ClassVar[str] = "uniform random scores"

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self._generator = np.random.default_rng(context.seed)
        self._n_classes = len(problem.classes)
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        return self._generator.random((len(clips), self._n_classes), dtype=np.float32)
