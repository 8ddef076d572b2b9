"""Random guessing: the baseline of chance level."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from mmcl_bench.methods.base import Method
from mmcl_bench.methods.shared.saved import read_model, write_model
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem


class Chance(Method):
    """Uniform random scores."""

    name: ClassVar[str] = "chance"
    summary: ClassVar[str] = "uniform random scores"
    kind: ClassVar[str] = "baseline"
    cost: ClassVar[str] = "seconds"

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

    def load(self, folder: Path, device: str = "cpu") -> None:
        saved = read_model(folder, type(self))
        self._layout, self._n_classes = saved.layout, saved.facts["n_classes"]
        self._generator = np.random.default_rng()
        self._generator.bit_generator.state = saved.facts["generator"]
