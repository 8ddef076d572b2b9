"""A method that fails on some seeds, for tests of what a failure leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem


class Failing(Method):
    """Fails when its seed is one of ``bad``; else scores every class alike."""

    name: ClassVar[str] = "failing"
    summary: ClassVar[str] = "for tests"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}
    bad: ClassVar[set[int]] = set()
    """Numbers of fits, from 0 on, that fail."""
    error: ClassVar[BaseException] = ValueError("the third\nlayer is missing")
    fits: ClassVar[int] = 0

    def fit(self, problem: Problem, context: Context) -> FitReport:
        number, type(self).fits = self.fits, self.fits + 1
        if number in self.bad:
            raise self.error
        self._n_classes = len(problem.classes)
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        return np.zeros((len(clips), self._n_classes), dtype=np.float32)


@contextmanager
def failing(*fits: int, error: BaseException = Failing.error) -> Iterator[type[Failing]]:
    """Registers the method; the given fits of those to come fail."""
    METHODS.register("failing")(Failing)
    Failing.bad, Failing.error, Failing.fits = set(fits), error, 0
    try:
        yield Failing
    finally:
        METHODS.unregister("failing")
